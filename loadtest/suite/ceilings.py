"""The most that each device was seen to do, so that a rate says also of what."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest.suite.results import Ceiling
from loadtest.suite.subject import CallFailed, Place, Subject
from runtime.model import Device

SECONDS, QUICK_SECONDS = 4.0, 0.8  # that growing products of one number format may take
LIMIT = 120.0  # seconds that one ceiling may take
FORMATS: dict[Device, tuple[str, ...]] = {
    "cpu": ("float32", "bfloat16"),
    "gpu": ("float32", "tf32", "bfloat16", "float16"),
}


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A ceiling that could not be measured, and why."""

    device: Device
    name: str
    reason: str


def names(place: Place) -> Sequence[str]:
    """What is measured on a device; a simulated GPU copies nothing, and has no float16 units."""
    formats = [f for f in FORMATS[place.device] if not (place.simulated and f == "float16")]
    copies = ["copy"]
    if place.device == "gpu" and not place.simulated:
        copies += ["transfer_in", "transfer_out"]
    return [f"matmul {f}" for f in formats] + copies


async def measure(
    subjects: Mapping[Device, Subject], *, quick: bool
) -> AsyncIterator[Ceiling | Unmeasured]:
    """Each ceiling of each device as it is measured; subjects are those of `suite_ceiling`."""
    seconds = QUICK_SECONDS if quick else SECONDS
    for device, subject in subjects.items():
        for name in names(subject.place):
            unit: Literal["FLOP/s", "B/s"] = "FLOP/s" if name.startswith("matmul") else "B/s"
            asked = {"name": name, "seconds": seconds, "room": subject.place.room}
            try:
                told = (await subject.call(asked, LIMIT)).result
            except CallFailed as error:
                yield Unmeasured(device, name, str(error))
            else:
                yield Ceiling(device, name, unit, tuple(told["rates"]), told["detail"])
