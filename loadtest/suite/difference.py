"""What changed between two runs of the suite, beyond noise, and what it can and cannot tell."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from loadtest import quantity
from loadtest.markdown import bullets, paragraph, plain, texts
from loadtest.quantity import NONE
from loadtest.suite import surroundings
from loadtest.suite.change import THRESHOLD, Change, Subject, Verdict, changes, measured
from loadtest.suite.results import Results
from runtime.model import Device

STYLES: dict[Verdict, str] = {"slower": "bold red", "faster": "bold green"}
HEAD = ("what", "case", "device", "before", "after", "change in seconds", "verdict")


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs side by side."""

    warnings: tuple[str, ...]  # what must be known before any change is believed
    changes: tuple[Change, ...]
    only_before: tuple[Subject, ...]
    only_after: tuple[Subject, ...]
    parities: tuple[str, ...]  # held before, fails now, and so on
    failures: tuple[str, ...]  # where another share of calls failed
    facts: tuple[tuple[str, str, str], ...]  # of machine and devices: name, before, after
    confidence: float
    simulated: frozenset[Device]

    def of(self, verdict: Verdict) -> list[Change]:
        """The changes with this verdict."""
        return [change for change in self.changes if change.verdict == verdict]

    @property
    def compared(self) -> list[Change]:
        """The changes that have an interval."""
        return [change for change in self.changes if change.ratio and change.ratio.low is not None]

    @property
    def caution(self) -> str:
        """How many of these verdicts chance alone would give, and what an interval leaves out."""
        tried = len(self.compared)
        if not tried:
            return "Nothing could be compared with an interval, so nothing is called a change."
        chance = (1 - self.confidence) * tried
        beyond = [c for c in self.compared if c.ratio and not _holds_one(c)]
        called = len(self.of("slower")) + len(self.of("faster"))
        return (
            f"{quantity.counted(tried, 'comparison')} with intervals of"
            f" {quantity.share(self.confidence)}: if nothing had changed, about"
            f" {quantity.number(chance)} of them would exclude 1 by chance."
            f" {len(beyond):,} did; {called:,} of these changed by more than"
            f" {quantity.share(THRESHOLD)}, and only those are called slower or faster: no further"
            " correction is made. An interval tells how the calls of one run vary: two runs of"
            " the same code may differ by more, so repeat both before you believe a small change."
        )

    @property
    def headline(self) -> str:
        """`2 slower, 1 faster, 40 within noise, 3 too few samples, 1 not compared`."""
        verdicts: tuple[Verdict, ...] = (
            "slower",
            "faster",
            "within noise",
            "too few samples",
            "not compared",
        )
        told = [f"{len(self.of(v))} {v}" for v in verdicts if self.of(v) or v in STYLES]
        return ", ".join(told)

    def markdown(self) -> str:
        """The whole comparison as a page."""
        parts = [
            "# What changed",
            *(f"> **{plain(warning)}**" for warning in self.warnings),
            f"**{self.headline}.**",
            self.caution,
            *_listed("## Results of CPU and GPU", self.parities),
            *_listed("## Failures", self.failures),
            *([] if not self.changes else ["## Every comparison", texts(HEAD, self._rows())]),
            *_listed("## Only in the first run", [self._name(s) for s in self.only_before]),
            *_listed("## Only in the second run", [self._name(s) for s in self.only_after]),
            "## What differs between the runs",
            texts(("", "before", "after"), self.facts) if self.facts else "No fact differs.",
        ]
        return "\n\n".join(parts) + "\n"

    def table(self) -> Table:
        """The same for a terminal: warnings above, every comparison, and what else to say below."""
        said = [f"{self.headline}.", self.caution]
        said += [f"Results: {line}" for line in self.parities]
        said += [f"Failures: {line}" for line in self.failures]
        for subjects, which in ((self.only_before, "first"), (self.only_after, "second")):
            if subjects:
                names = "; ".join(self._name(subject) for subject in subjects)
                said.append(f"Only in the {which} run: {names}")
        table = Table(
            box=box.SIMPLE_HEAD,
            title=Text("\n".join(self.warnings), style="bold yellow") if self.warnings else None,
            title_justify="left",
            caption=Text("\n".join(said)),
            caption_justify="left",
        )
        for heading in HEAD:
            table.add_column(heading, overflow="fold")
        for change, row in zip(self.changes, self._rows(), strict=True):
            verdict = Text(row[-1], style=STYLES.get(change.verdict, ""))
            table.add_row(*(Text(cell) for cell in row[:-1]), verdict)
        return table

    def _rows(self) -> list[Sequence[str]]:
        return [
            (
                change.subject.kind,
                change.subject.words,
                self._device(change.subject.device),
                change.before,
                change.after,
                _moved(change),
                f"{change.verdict}: {change.why}" if change.why else change.verdict,
            )
            for change in self.changes
        ]

    def _name(self, subject: Subject) -> str:
        return f"{subject.kind}: {subject.words} on the {self._device(subject.device)}"

    def _device(self, device: Device) -> str:
        return f"{device.upper()} (simulated)" if device in self.simulated else device.upper()


def compare(before: Results, after: Results) -> Difference:
    """What changed from one run to another.

    Subjects of both runs are compared where they are the same work: same function, parameters and
    kind of device.  Different machines are compared, and said so first.
    """
    old, new = measured(before), measured(after)
    return Difference(
        tuple(surroundings.warnings(before, after)),
        tuple(changes(before, after)),
        tuple(subject for subject in old if subject not in new),
        tuple(subject for subject in new if subject not in old),
        tuple(surroundings.parities(before, after)),
        tuple(surroundings.failures(before, after)),
        tuple(surroundings.facts(before, after)),
        max(before.confidence, after.confidence),
        frozenset(
            device.kind for run in (before, after) for device in run.devices if device.simulated
        ),
    )


def _moved(change: Change) -> str:
    found = change.ratio
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return quantity.change(found.median)
    low, high = quantity.change(found.low), quantity.change(found.high)
    return f"{quantity.change(found.median)} ({low} to {high})"


def _holds_one(change: Change) -> bool:
    found = change.ratio
    return found is None or found.low is None or found.high is None or found.low <= 1 <= found.high


def _listed(heading: str, lines: Sequence[str]) -> list[str]:
    return [heading, bullets(paragraph(line) for line in lines)] if lines else []
