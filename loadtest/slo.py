"""An SLO: what a load test must come to, written as `p99=200ms,errors=0.1%`, and whether it did.

A goal is `MEASURE=BOUND`, or for a part of the load `FUNCTION.MEASURE=BOUND`,
`FUNCTION.gpu.MEASURE=BOUND` or `gpu.MEASURE=BOUND`:

- `p50`, `p99.9`, … and `max`: latency of what succeeded or was accepted, from the intended send to
  the last byte, at most the bound (`us`, `ms`, `s`, `m`); to 0.1 %, as the histogram has it;
- `errors`: the share of requests that did not succeed, at most the bound (`%`).  What nobody
  answered counts; a 429 that was waited out and then succeeded does not;
- `throttled`: the share of answers that were 429s, at most the bound (`%`), of the whole load only;
- `throughput`: successes a second, at least the bound (`/s`).
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.latencies import Latencies
from loadtest.outcome import TOTAL, Group, Objective, Outcome
from loadtest.quantity import duration, rate, share
from runtime.errors import ConfigurationError

SUCCEEDED = frozenset({"succeeded", "accepted"})
THROTTLED = "throttled"  # the fault of a request that was given up because of 429s
DIGITS = 4  # one more than elsewhere: a bound may be missed by little
NONE = "none"  # measured where nothing was answered
EXAMPLE = "p99=200ms,errors=0.1%"

DEVICES = ("cpu", "gpu")
UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
GOAL = re.compile(
    r"(?:(?P<function>[a-z][a-z0-9_]*)\.)??(?:(?P<device>cpu|gpu)\.)?"
    r"(?P<measure>[a-z]+|p\d+(?:\.\d+)?)\s*=\s*(?P<bound>\S+)"
)
NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>\S*)")
PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Goal:
    """One part of an SLO."""

    text: str  # as it was written
    function: str | None  # None: every function
    device: str | None  # None: every device
    measure: str  # "percentile", "errors", "throttled" or "throughput"
    percent: float  # of a percentile; `max` is 100
    bound: float  # seconds, a share (0 to 1), or successes a second

    def check(self, outcome: Outcome) -> Objective:
        """What was measured, and whether it meets the goal; where nothing was answered it is not.

        Requests without an outcome at the end are known only for the whole load: the errors of one
        function or device do not count them.
        """
        value = self._measured(outcome)
        if math.isnan(value):
            return Objective(self.text, NONE, False)
        met = value >= self.bound if self.measure == "throughput" else value <= self.bound
        return Objective(self.text, self._told(value), met)

    def _measured(self, outcome: Outcome) -> float:
        """In the unit of the bound; nan where there is nothing to measure."""
        groups = [group for group in outcome.groups if self._holds(group)]
        good = [group for group in groups if group.status in SUCCEEDED]
        succeeded, ended = _count(good), _count(groups)
        whole = self.function is None and self.device is None
        asked = ended + (outcome.unanswered if whole else 0)
        if not asked:
            return math.nan
        match self.measure:
            case "percentile":
                return _latencies(good).percentile(self.percent)
            case "throughput":
                return succeeded / outcome.seconds if outcome.seconds > 0 else math.nan
            case "throttled":
                given_up = _count(group for group in groups if group.status == THROTTLED)
                answers = asked - given_up + outcome.throttled
                return outcome.throttled / answers if answers else math.nan
            case _:
                return (asked - succeeded) / asked

    def _holds(self, group: Group) -> bool:
        return self.function in (None, group.function) and self.device in (None, group.device)

    def _told(self, value: float) -> str:
        if self.measure == "percentile":
            return duration(value, DIGITS)
        if self.measure == "throughput":
            return rate(value, DIGITS)
        return share(value, DIGITS)


def parse(text: str) -> tuple[Goal, ...]:
    """The goals of an SLO; ConfigurationError names the part that is none, and what to write."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ConfigurationError(f"the SLO is empty: write goals such as {EXAMPLE}")
    return tuple(_goal(part) for part in parts)


def _goal(text: str) -> Goal:
    found = GOAL.fullmatch(text)
    if found is None:
        raise _wrong(text, f"is no goal: write MEASURE=BOUND, as in {EXAMPLE}")
    function, device, measure = found["function"], found["device"], found["measure"]
    if function in DEVICES and device is None:
        function, device = None, function
    number = NUMBER.fullmatch(found["bound"])
    if number is None:
        raise _wrong(text, f"has no number after =: write it as in {EXAMPLE}")
    value, unit = float(number["number"]), number["unit"]
    if measure == "max" or PERCENTILE.fullmatch(measure):
        percent = 100.0 if measure == "max" else float(measure[1:])
        if not 0 < percent <= 100:
            raise _wrong(text, "asks for a percentile that is none: write p50, p99 or p99.9, say")
        return Goal(text, function, device, "percentile", percent, _seconds(text, value, unit))
    if measure == "throughput":
        if unit != "/s":
            raise _wrong(text, "has no rate: write successes a second, as in throughput=500/s")
        return Goal(text, function, device, measure, 0, value)
    if measure not in ("errors", "throttled"):
        known = "p50, p99 or any percentile, max, errors, throttled or throughput"
        raise _wrong(text, f"measures {measure!r}, which is not known: write {known}")
    if measure == "throttled" and (function or device):
        raise _wrong(text, "is about a part, but 429s are counted as a whole: write throttled=1%")
    return Goal(text, function, device, measure, 0, _share(text, value, unit, measure))


def _seconds(text: str, value: float, unit: str) -> float:
    if unit not in UNITS:
        raise _wrong(
            text, "has no unit of time: write us, ms, s or m after the number, as in 200ms"
        )
    return value * UNITS[unit]


def _share(text: str, value: float, unit: str, measure: str) -> float:
    if unit != "%" and (unit or value):  # a bare 0 says what it means
        raise _wrong(text, f"has no percent sign: write a share, as in {measure}=0.1%")
    if value > 100:
        raise _wrong(text, "is over 100 %: write a share from 0% to 100%")
    return value / 100


def _wrong(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"SLO: {text} {why}")


def _count(groups: Iterable[Group]) -> int:
    return sum(group.count for group in groups)


def _latencies(groups: Iterable[Group]) -> Latencies:
    latencies = Latencies()
    for group in groups:
        if TOTAL in group.phases:
            latencies.add(Latencies.decode(group.phases[TOTAL]))
    return latencies
