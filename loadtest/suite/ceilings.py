"""The most that each device was seen to do, so that a rate says also of what.

Measured before the calls and again after them, and the better of both counts: other work can only
lower it, and a device that slowed down meanwhile shows.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from loadtest.suite.event import Tell
from loadtest.suite.results import Ceiling
from loadtest.suite.subject import CallFailed, Place, Subject
from runtime.model import Device

SECONDS, QUICK_SECONDS = 4.0, 0.5  # that growing products of one number format may take
LIMIT = 120.0  # seconds that one ceiling may take
DRIFT = 1.25  # times faster before than after, or the reverse, is worth a note
FORMATS: dict[Device, tuple[str, ...]] = {
    "cpu": ("float32", "bfloat16"),
    "gpu": ("float32", "tf32", "bfloat16", "float16"),
}


def names(place: Place) -> Sequence[str]:
    """What is measured on a device; a simulated GPU copies nothing, and has no float16 units."""
    formats = [f for f in FORMATS[place.device] if not (place.simulated and f == "float16")]
    copies = ["copy"]
    if place.device == "gpu" and not place.simulated:
        copies += ["transfer_in", "transfer_out"]
    return [f"matmul {f}" for f in formats] + copies


class Ceilings:
    """The ceilings of some devices; `fork` gives a subject of `suite_ceiling` on one."""

    def __init__(
        self,
        devices: Iterable[Device],
        fork: Callable[[Device], Subject],
        tell: Tell,
        *,
        quick: bool,
    ) -> None:
        self.best: dict[tuple[Device, str], Ceiling] = {}
        self.notes: list[str] = []
        self._drifted: dict[Device, list[str]] = {}  # what was faster before than after, or reverse
        self._devices = list(devices)
        self._fork = fork
        self._tell = tell
        self._seconds = QUICK_SECONDS if quick else SECONDS

    async def measure(self) -> None:
        """Measure all of them; what cannot be measured becomes a note."""
        for device in self._devices:
            try:
                subject = self._fork(device)
            except CallFailed as error:
                self._note(f"the {device}'s ceilings are not known: {error}")
                continue
            try:
                for name in names(subject.place):
                    await self._one(subject, device, name)
            finally:
                await subject.close()
        self._note_drift()

    async def _one(self, subject: Subject, device: Device, name: str) -> None:
        unit: Literal["FLOP/s", "B/s"] = "FLOP/s" if name.startswith("matmul") else "B/s"
        asked = {"name": name, "seconds": self._seconds, "room": subject.place.room}
        try:
            told = (await subject.call(asked, LIMIT)).result
        except CallFailed as error:
            self._note(f"the {device}'s ceiling {name} is not known: {error}")
            return
        found = Ceiling(device, name, unit, tuple(told["rates"]), told["detail"])
        self._tell(
            {"event": "ceiling", "device": device, "name": name, "unit": unit}
            | {"rates": list(found.rates)}
        )
        self._keep(found)

    def _keep(self, found: Ceiling) -> None:
        before = self.best.get((found.device, found.name))
        if before is None:
            self.best[found.device, found.name] = found
            return
        old, new = statistics.median(before.rates), statistics.median(found.rates)
        if max(old, new) > DRIFT * min(old, new):
            told = f"{found.name} {old / 1e9:.4g} and {new / 1e9:.4g} G{found.unit}"
            self._drifted.setdefault(found.device, []).append(told)
        if new > old:
            self.best[found.device, found.name] = found

    def _note_drift(self) -> None:
        for device, told in self._drifted.items():
            self._note(
                f"the {device} changed its speed, before and after the calls: {'; '.join(told)};"
                " the better counts"
            )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            self._tell({"event": "note", "text": text})
