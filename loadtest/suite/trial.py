"""A cell while it is measured: what its calls gave, and whether more are needed."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from loadtest.suite.plan import Effort
from loadtest.suite.results import Sample
from loadtest.suite.subject import Answer, CallFailed, TookTooLong
from runtime.estimate import estimate
from runtime.model import Device

FAILURES_IN_A_ROW = 5  # after which a cell is given up
CALLS_TO_JUDGE = 10  # from which on more failures than successes end a cell
LONGER = 3  # times the limit, for a cell with fewer than the least samples
WARMING = 0.25  # of the limit: what warm-up may take, once there was one call
LONGEST_MESSAGE = 500  # characters kept of each failure


@dataclass(frozen=True, slots=True)
class Extremes:
    """The least and the largest number that calls gave for a field."""

    least: float
    largest: float


class Trial:
    """Calls of one function with one set of parameters on one device.

    Cells of several cases that are called alike share one trial.
    """

    def __init__(
        self,
        device: Device,
        size: float,
        parameters: dict[str, Any],
        *,
        seconds: str | None,
        fields: Iterable[str],
        timeout: float,
        effort: Effort,
        place: Callable[[], int],
    ) -> None:
        self.device = device
        self.size = size
        self.parameters = parameters
        self.seconds = seconds  # the result's field that tells them
        self.fields = tuple(fields)  # of the result, that are compared between devices
        self.timeout = timeout  # seconds a call may take
        self.effort = effort
        self.place = place  # gives the next sample's place in the run
        self.samples: list[Sample] = []
        self.failures: list[str] = []
        self.stopped: str | None = None  # why no more calls are made
        self.seen: dict[str, Extremes | None] = {}  # by field; None where a result lacks it
        self.quickest: float | None = None  # seconds that were waited for a warm-up call
        self._warm_ups: list[float] = []  # seconds
        self._spent = 0.0  # seconds of warm calls
        self._calls = 0
        self._failed_in_a_row = 0

    @property
    def key(self) -> tuple[Device, str | None, bytes]:
        """Equal for calls that are alike."""
        parameters = orjson.dumps(self.parameters, option=orjson.OPT_SORT_KEYS)
        return self.device, self.seconds, parameters

    @property
    def warm(self) -> bool:
        """Whether enough calls were discarded."""
        if not self._warm_ups:
            return False
        enough = len(self._warm_ups) >= self.effort.discard
        return enough or sum(self._warm_ups) > WARMING * self.effort.limit

    def take(self, answer: Answer, waited: float) -> Sample | None:
        """A call that took `waited` seconds: a sample of it, None while it is warmed up.

        CallFailed where it does not tell the seconds of its work.
        """
        seconds = self._seconds(answer)
        self._succeeded(answer)
        if not self.warm and not self._warms_up(waited):
            return None
        sample = self._sample(answer, seconds)
        self.samples.append(sample)
        self._spent += waited
        self._decide()
        return sample

    def fail(self, why: CallFailed, waited: float) -> None:
        """A call that gave nothing usable, warm or not."""
        if isinstance(why, TookTooLong):
            self.quickest = max(waited, self.quickest or 0.0)
        self._calls += 1
        self._failed_in_a_row += 1
        self._spent += waited
        self.failures.append(str(why)[:LONGEST_MESSAGE])
        self._decide()

    def leave_out(self, why: str) -> None:
        """Do not call it at all."""
        self.stopped = f"left out: {why}"

    def stop(self, why: str) -> None:
        self.stopped = self.stopped or why

    def _warms_up(self, waited: float) -> bool:
        """Count a call as warm-up; True if it took so long that it has to do as a sample."""
        self._warm_ups.append(waited)
        self.quickest = min(self._warm_ups)
        if len(self._warm_ups) > 1 or waited <= self.effort.limit:
            return False
        self.stopped = f"time: one call took {waited:.0f} s"
        return True

    def _succeeded(self, answer: Answer) -> None:
        self._calls += 1
        self._failed_in_a_row = 0
        for field in self.fields:
            self._see(field, number_at(answer.result, field))

    def _see(self, field: str, number: float | None) -> None:
        before = self.seen.get(field, Extremes(math.inf, -math.inf))
        if number is None or before is None:
            self.seen[field] = None
        else:
            self.seen[field] = Extremes(min(before.least, number), max(before.largest, number))

    def _sample(self, answer: Answer, seconds: float) -> Sample:
        return Sample(
            order=self.place(),
            seconds=seconds,
            transfer_in=answer.phases.get("transfer_in", 0.0),
            transfer_out=answer.phases.get("transfer_out", 0.0),
            run=answer.run,
        )

    def _seconds(self, answer: Answer) -> float:
        """Of one piece of work: as the result tells them, else the phase compute, else all."""
        if self.seconds is None:
            return answer.phases.get("compute", answer.run)
        told = number_at(answer.result, self.seconds)
        if told is None or told <= 0:
            raise CallFailed(
                f"its result tells no seconds in {self.seconds!r}, a number above 0: correct the"
                " field in the plan, or the function"
            )
        return told

    def _decide(self) -> None:
        n, effort = len(self.samples), self.effort
        if self.stopped is not None:
            return
        if self._hopeless():
            self.stopped = "failures"
        elif (spread := self._spread()) is not None and spread <= effort.precision:
            self.stopped = f"± {100 * spread:.2g} % after {n}"
        elif n >= effort.most:
            self.stopped = f"{n} samples"
        elif self._spent >= effort.limit * (LONGER if 0 < n < effort.least else 1):
            self.stopped = "time" if n else "failures"

    def _hopeless(self) -> bool:
        failed = len(self.failures)
        # One more, so that a function that fails every second call is measured by the others.
        mostly = self._calls >= CALLS_TO_JUDGE and 2 * failed > self._calls + 1
        return mostly or self._failed_in_a_row >= FAILURES_IN_A_ROW

    def _spread(self) -> float | None:
        if len(self.samples) < self.effort.least:
            return None
        return estimate([s.seconds for s in self.samples], self.effort.confidence).spread


def number_at(result: Any, path: str) -> float | None:
    """The number at a path such as `seconds` or `losses.0`; None where there is none."""
    for part in path.split("."):
        if isinstance(result, dict):
            result = result.get(part)
        elif isinstance(result, list) and part.lstrip("-").isdigit():
            index = int(part)
            result = result[index] if -len(result) <= index < len(result) else None
        else:
            return None
    if isinstance(result, bool) or not isinstance(result, int | float):
        return None
    return float(result) if math.isfinite(result) else None
