"""All cells of one function: every case, size and device of it, called in random rounds.

One warm replica on each device serves them all, so that replicas and memory stay few.
"""

from collections.abc import Sequence
from typing import Any

from loadtest.suite.caller import Caller
from loadtest.suite.case import Case
from loadtest.suite.choice import fastest
from loadtest.suite.entry import Entry
from loadtest.suite.event import Tell
from loadtest.suite.plan import Effort, Values
from loadtest.suite.results import Sample
from loadtest.suite.schedule import Schedule
from loadtest.suite.trial import Trial
from runtime.estimate import estimate
from runtime.model import Device

TELLING = 0.1  # of the longest call: what one must have taken to tell how long a larger one takes


class Block:
    """The cells of one function."""

    def __init__(
        self, cases: Sequence[Case], caller: Caller, effort: Effort, schedule: Schedule, tell: Tell
    ) -> None:
        self.cases = list(cases)
        self.caller = caller
        self.effort = effort
        self.notes: list[str] = []
        self._schedule = schedule
        self._tell = tell
        self._trials: dict[Any, Trial] = {}
        self._told: set[tuple[str, Device, float]] = set()  # cells whose end was told
        self.entries: list[Entry] = [
            self._entry(case, device, size, case.given[device][0])
            for case in self.cases
            for device in caller.subjects
            if device in case.devices
            for size in case.sizes
        ]

    async def measure(self) -> None:
        """Warm everything up, smallest first, then call in random rounds until each has enough."""
        for case in self.cases:
            if "cpu" in self.caller.subjects and len(case.given["cpu"]) > 1:
                await self._choose(case)
        for case in self.cases:
            for device in self.caller.subjects:
                await self._warm_up(self._ladder(case, device))
        for trial in self._schedule.rounds(self._unique()):
            if sample := await self.caller.call(trial):
                self._tell_sample(trial, sample)
            self._tell_ended()

    def interrupt(self) -> None:
        """No more calls are made."""
        for entry in self.entries:
            entry.trial.stop("interrupted")

    # ── what is called how ────────────────────────────────────────────────────────────────────

    def _entry(self, case: Case, device: Device, size: float, given: Values) -> Entry:
        """Cells that are called alike share their trial, and so their samples."""
        trial = Trial(
            device,
            size,
            case.parameters(given, size),
            seconds=case.seconds,
            fields={rule.field for other in self.cases for rule in other.parity},
            timeout=case.timeout,
            effort=self.effort,
            place=self._schedule.place,
        )
        return Entry(case, device, size, self._trials.setdefault(trial.key, trial))

    def _unique(self) -> list[Trial]:
        """Each trial once, in order."""
        return list({id(entry.trial): entry.trial for entry in self.entries}.values())

    def _ladder(self, case: Case, device: Device) -> list[Entry]:
        """The sizes of one case on one device, from the least."""
        return [e for e in self.entries if e.case is case and e.device == device]

    async def _choose(self, case: Case) -> None:
        """Of several ways to call the CPU, take its fastest."""
        choice = await fastest(case, self.caller, self.effort)
        self.notes.append(choice.note)
        self._tell({"event": "note", "text": choice.note})
        self.entries = [
            self._entry(case, "cpu", entry.size, choice.given)
            if entry.case is case and entry.device == "cpu"
            else entry
            for entry in self.entries
        ]

    # ── calls ─────────────────────────────────────────────────────────────────────────────────

    async def _warm_up(self, entries: list[Entry]) -> None:
        """Call every size enough to be warm, but not those that would take far too long."""
        pace: tuple[float, float] | None = None  # seconds that a call took, for an amount of work
        for entry in entries:
            trial = entry.trial
            amount = entry.case.whole(trial.parameters) or entry.size or 1.0
            expected = pace[0] * amount / pace[1] if pace else 0.0
            if trial.stopped is None and (why := self._too_much(entry, expected)):
                trial.leave_out(why)
            while trial.stopped is None and not trial.warm:
                await self.caller.call(trial)
            if trial.quickest is not None and trial.quickest >= TELLING * self.effort.longest:
                pace = trial.quickest, amount
            self._tell_ended()

    def _too_much(self, entry: Entry, expected: float) -> str | None:
        """Why a cell is not even tried."""
        place = self.caller.subjects[entry.device].place
        needed = entry.case.bytes(entry.trial.parameters)
        if needed > place.room:
            return f"it takes about {needed / 1e9:.2g} GB, of {place.room / 1e9:.2g} GB"
        if expected > self.effort.longest:
            longest = self.effort.longest
            return f"a call would take about {expected:.0f} s, and the plan allows {longest:g} s"
        return None

    # ── what came of it ───────────────────────────────────────────────────────────────────────

    def _tell_sample(self, trial: Trial, sample: Sample) -> None:
        entry = next(entry for entry in self.entries if entry.trial is trial)
        told = {"case": entry.case.name, "device": entry.device, "size": entry.size}
        self._tell({"event": "sample", **told, "seconds": sample.seconds, "n": len(trial.samples)})

    def _tell_ended(self) -> None:
        """Tell of every cell that ended since the last time."""
        for entry in self.entries:
            key = (entry.case.name, entry.device, entry.size)
            if entry.trial.stopped is None or key in self._told:
                continue
            self._told.add(key)
            seconds = [sample.seconds for sample in entry.trial.samples]
            found = estimate(seconds, self.effort.confidence) if seconds else None
            self._tell(
                {
                    "event": "cell",
                    "case": entry.case.name,
                    "device": entry.device,
                    "size": entry.size,
                    "seconds": found and found.median,
                    "low": found and found.low,
                    "high": found and found.high,
                    "n": len(seconds),
                    "failures": len(entry.trial.failures),
                    "stopped": entry.trial.stopped,
                }
            )
