"""How much slower or faster one thing is in a second run than in a first, beyond noise.

A change is of seconds, after over before, so that more than 1 is always slower; for a ceiling,
which is a rate, it is the seconds that the same work would take.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest import quantity
from loadtest.suite.results import Ceiling, Cell, Results
from runtime.estimate import Estimate, estimate, ratio
from runtime.model import Device

THRESHOLD = 0.02  # a smaller change is called noise, whatever its interval says
NO_SAMPLES = "no call succeeded"

Kind = Literal["the work itself", "with transfers", "cold start", "ceiling"]
Verdict = Literal["slower", "faster", "within noise", "too few samples", "not compared"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured in both runs."""

    kind: Kind
    case: str  # or the ceiling's name
    device: Device
    size: float | None  # None for a ceiling

    @property
    def words(self) -> str:
        """`matmul float32, 8,192`."""
        return self.case if self.size is None else f"{self.case}, {quantity.given(self.size)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One subject in both runs."""

    subject: Subject
    before: str  # the median, in words
    after: str
    ratio: Estimate | None  # of seconds, after over before; None where not compared
    verdict: Verdict
    why: str  # why it was not compared


@dataclass(frozen=True, slots=True)
class Measured:
    """One subject in one run; two of them are compared only where `alike` is the same."""

    values: tuple[float, ...]
    words: Callable[[float], str]
    rate: bool  # more is faster
    alike: tuple[tuple[str, str], ...]  # names and values that must be the same in both runs


def changes(before: Results, after: Results) -> list[Change]:
    """Every subject that is in both runs, in the order of the first."""
    old, new = measured(before), measured(after)
    confidence = max(before.confidence, after.confidence)
    return [_change(key, old[key], new[key], confidence) for key in old if key in new]


def measured(results: Results) -> dict[Subject, Measured]:
    """All that a run measured: every case's work, with its transfers, cold starts and ceilings."""
    simulated = {d.kind: "yes" if d.simulated else "no" for d in results.devices}
    found: dict[Subject, Measured] = {}
    for cell in results.cells:
        found |= _of_cell(cell, simulated.get(cell.device, "unknown"))
    colds: dict[tuple[str, Device, float], list[float]] = defaultdict(list)
    for cold in results.colds:
        colds[cold.case, cold.device, cold.size].append(cold.start + cold.first)
    for (case, device, size), values in colds.items():
        alike = (("simulated", simulated.get(device, "unknown")),)
        found[Subject("cold start", case, device, size)] = Measured(
            tuple(values), quantity.duration, False, alike
        )
    for ceiling in results.ceilings:
        subject = Subject("ceiling", ceiling.name, ceiling.device, None)
        found[subject] = _of_ceiling(ceiling, simulated.get(ceiling.device, "unknown"))
    return found


def _of_cell(cell: Cell, simulated: str) -> dict[Subject, Measured]:
    alike = (
        ("simulated", simulated),
        ("function", cell.function),
        ("size axis", cell.axis),
        ("work", f"{cell.work} {cell.unit}"),
        *sorted((name, str(value)) for name, value in cell.parameters.items()),
    )
    seconds = tuple(sample.seconds for sample in cell.samples)
    whole = tuple(s.seconds + s.transfer_in + s.transfer_out for s in cell.samples)
    found = {
        Subject("the work itself", cell.case, cell.device, cell.size): Measured(
            seconds, quantity.duration, False, alike
        )
    }
    if whole != seconds:
        found[Subject("with transfers", cell.case, cell.device, cell.size)] = Measured(
            whole, quantity.duration, False, alike
        )
    return found


def _of_ceiling(ceiling: Ceiling, simulated: str) -> Measured:
    def words(rate: float) -> str:
        return quantity.amount(rate, ceiling.unit)

    return Measured(
        ceiling.rates, words, True, (("simulated", simulated), ("measured by", ceiling.detail))
    )


def _change(subject: Subject, old: Measured, new: Measured, confidence: float) -> Change:
    told = _median(old), _median(new)
    why = _unlike(old.alike, new.alike) or _uncountable(old.values, new.values)
    if why:
        return Change(subject, *told, None, "not compared", why)
    above, below = (old, new) if old.rate else (new, old)
    found = ratio(above.values, below.values, confidence=confidence)
    return Change(subject, *told, found, verdict(found), "")


def verdict(found: Estimate) -> Verdict:
    """What a ratio of seconds says: only an interval without 1, and more than 2 %, is a change."""
    if found.low is None or found.high is None:
        return "too few samples"
    if found.low > 1 and found.median > 1 + THRESHOLD:
        return "slower"
    if found.high < 1 and found.median < 1 - THRESHOLD:
        return "faster"
    return "within noise"


def _unlike(old: Iterable[tuple[str, str]], new: Iterable[tuple[str, str]]) -> str:
    before, after = dict(old), dict(new)
    differ = [
        f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    return f"not the same: {', '.join(differ)}" if differ else ""


def _uncountable(old: Sequence[float], new: Sequence[float]) -> str:
    for values, when in ((old, "before"), (new, "after")):
        if not values:
            return f"{NO_SAMPLES} {when}"
        if min(values) <= 0:
            return f"it took less time than the clock can tell {when}"
    return ""


def _median(found: Measured) -> str:
    return found.words(estimate(found.values).median) if found.values else quantity.NONE
