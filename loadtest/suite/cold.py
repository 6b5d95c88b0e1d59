"""Cold starts: a new replica, forked from a warm zygote, and its first call."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.suite.entry import Entry
from loadtest.suite.event import Tell
from loadtest.suite.results import Cold
from loadtest.suite.schedule import Schedule
from loadtest.suite.subject import CallFailed, Subject
from runtime.model import Device


@dataclass(slots=True)
class ColdStarts:
    """Those of one function; a failure becomes a note."""

    entries: Sequence[Entry]
    fork: Callable[[Device], Subject]  # a subject without a replica
    schedule: Schedule
    tell: Tell
    found: list[Cold]
    notes: list[str]

    async def measure(self, times: int) -> None:
        """Start a replica that often on each device, in random order, at a moderate size."""
        chosen = moderate(self.entries)
        failed: set[Device] = set()
        for device in self.schedule.shuffled(list(chosen) * times):
            entry = chosen[device]
            if device in failed:
                continue
            try:
                self.found.append(await self._once(entry))
            except CallFailed as error:
                failed.add(device)
                self.notes.append(
                    f"{entry.case.name}: a cold start on the {device} failed: {error}"
                )
                self.tell({"event": "note", "text": self.notes[-1]})

    async def _once(self, entry: Entry) -> Cold:
        subject = self.fork(entry.device)
        try:
            start = await subject.start()
            answer = await subject.call(entry.trial.parameters, entry.trial.timeout)
        finally:
            await subject.close()
        cold = Cold(
            function=entry.case.spec.name,
            case=entry.case.name,
            device=entry.device,
            size=entry.size,
            order=self.schedule.place(),
            start=start,
            first=answer.run,
            warm=statistics.median(sample.run for sample in entry.trial.samples),
        )
        told = {"case": cold.case, "device": cold.device, "size": cold.size}
        self.tell({"event": "cold", **told, "start": start, "first": cold.first, "warm": cold.warm})
        return cold


def moderate(entries: Sequence[Entry]) -> dict[Device, Entry]:
    """By device, the cell whose parameters cold calls have: of the first case that has samples.

    One size for all devices: what the plan says, or the middle of the ladder, or the nearest to it
    that was measured on each.
    """
    for case in dict.fromkeys(entry.case.name for entry in entries):
        own = [e for e in entries if e.case.name == case and e.trial.samples]
        devices = {e.device for e in entries if e.case.name == case}
        sizes = sorted({e.size for e in own})
        shared = [s for s in sizes if {e.device for e in own if e.size == s} == devices] or sizes
        if shared:
            wanted = own[0].case.cold
            if wanted is None:
                wanted = own[0].case.sizes[len(own[0].case.sizes) // 2]
            size = min(shared, key=lambda s: abs(s - wanted))
            return {e.device: e for e in own if e.size == size}
    return {}
