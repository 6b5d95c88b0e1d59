"""When invocations come, made up: Poisson, constant, in bursts, by the time of day, or rising.

All but `constant` are Poisson processes, with a rate that changes with time where it does, made by
thinning one of the highest rate (Lewis and Shedler, Simulation of Nonhomogeneous Poisson Processes
by Thinning, 1979).  The same seed gives the same instants.
"""

import math
from dataclasses import dataclass
from random import Random

from runtime.errors import ConfigurationError

DAY = 86_400.0  # seconds
MOST = 20_000_000  # instants that are made at once
FORMS = {  # numbers after each name: at least, at most, and how it is written
    "poisson": (1, 1, "poisson:RATE"),
    "constant": (1, 1, "constant:RATE"),
    "burst": (3, 3, "burst:RATE:SECONDS_ON:SECONDS_OFF"),
    "diurnal": (2, 3, "diurnal:LOWEST:HIGHEST[:PERIOD]"),
    "ramp": (2, 2, "ramp:FROM:TO"),
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rate of arrivals over time; rates are a second, times in seconds."""

    kind: str  # one of FORMS
    numbers: tuple[float, ...]

    @property
    def highest(self) -> float:
        """The highest rate there is."""
        rates = self.numbers[:2] if self.kind in ("diurnal", "ramp") else self.numbers[:1]
        return max(rates)

    def rate(self, at: float, seconds: float) -> float:
        """The rate at an instant of a stretch that lasts so many seconds."""
        first, *others = self.numbers
        if self.kind == "burst":
            on, off = others
            return first if at % (on + off) < on else 0.0
        if self.kind == "diurnal":
            period = others[1] if len(others) > 1 else DAY
            share = (1 - math.cos(2 * math.pi * at / period)) / 2  # lowest at the beginning
            return first + (others[0] - first) * share
        if self.kind == "ramp":
            return first + (others[0] - first) * at / seconds
        return first

    def mean(self, seconds: float) -> float:
        """Arrivals to expect in so many seconds from the beginning."""
        first, *others = self.numbers
        if self.kind == "burst":
            on, off = others
            whole, rest = divmod(seconds, on + off)
            return first * (whole * on + min(rest, on))
        if self.kind == "diurnal":
            period = others[1] if len(others) > 1 else DAY
            turn = 2 * math.pi / period
            share = (seconds - math.sin(turn * seconds) / turn) / 2
            return first * seconds + (others[0] - first) * share
        if self.kind == "ramp":
            return (first + others[0]) / 2 * seconds
        return first * seconds

    def instants(self, seconds: float, random: Random) -> list[float]:
        """When they come within so many seconds, in order.  ConfigurationError for too many."""
        if self.mean(seconds) > MOST:
            raise ConfigurationError(
                f"{self.words} for {seconds:g} s are over {MOST:,} arrivals: take fewer seconds"
            )
        if self.kind == "constant":
            return [n / self.numbers[0] for n in range(math.ceil(seconds * self.numbers[0]))]
        highest, draw, chance = self.highest, random.expovariate, random.random
        steady = self.kind == "poisson"
        found: list[float] = []
        at = draw(highest)
        while at < seconds:
            if steady or chance() * highest < self.rate(at, seconds):
                found.append(at)
            at += draw(highest)
        return found

    @property
    def words(self) -> str:
        """As it is written."""
        return ":".join([self.kind, *(f"{number:g}" for number in self.numbers)])


def pattern(text: str) -> Pattern:
    """The pattern that a text describes; ConfigurationError where it describes none."""
    kind, _, rest = text.partition(":")
    least, most, form = FORMS.get(kind, (0, 0, ""))
    try:
        numbers = tuple(float(part) for part in rest.split(":"))
    except ValueError:
        numbers = ()
    forms = form or ", ".join(form for _, _, form in FORMS.values())
    if (
        kind not in FORMS
        or not least <= len(numbers) <= most
        or not all(0 <= n < math.inf for n in numbers)
    ):
        raise ConfigurationError(f"--arrivals {text!r} is no pattern: write {forms}")
    found = Pattern(kind, numbers)
    never = kind == "burst" and not numbers[1]  # it is never on
    if not found.highest or never or (kind == "diurnal" and numbers[2:] == (0.0,)):
        raise ConfigurationError(f"--arrivals {text!r} has no arrivals: give a rate above 0")
    return found
