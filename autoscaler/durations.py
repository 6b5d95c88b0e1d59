"""How long something takes, as a simulation draws it: always the same, spread, or as recorded.

They are written `0.5` (seconds, always), `exponential:MEAN`, `lognormal:MEAN:DEVIATION`, or taken
from what was measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from runtime.errors import ConfigurationError

FORMS = "write seconds (0.5), exponential:MEAN, or lognormal:MEAN:DEVIATION"
PARTS = {"constant": 1, "exponential": 1, "lognormal": 2}  # numbers after each name


@dataclass(frozen=True, slots=True)
class Durations:
    """A distribution of durations in seconds; `recorded` are drawn with replacement."""

    kind: Literal["constant", "exponential", "lognormal", "recorded"] = "constant"
    mean: float = 0.0
    deviation: float = 0.0  # standard, of a lognormal
    recorded: tuple[float, ...] = ()

    @classmethod
    def of(cls, recorded: Sequence[float]) -> "Durations":
        """Those that were measured, at least one."""
        return cls("recorded", sum(recorded) / len(recorded), recorded=tuple(recorded))

    def draw(self, random: Random) -> float:
        """One of them."""
        return self.many(random, 1)[0]

    def many(self, random: Random, count: int) -> list[float]:
        """So many of them, independent of one another."""
        if self.kind == "recorded":
            return random.choices(self.recorded, k=count)
        if self.kind == "constant" or not self.mean:
            return [self.mean] * count
        if self.kind == "exponential":
            rate = 1 / self.mean
            return [random.expovariate(rate) for _ in range(count)]
        # Of a lognormal with mean m and deviation s, the logarithm has the variance ln(1 + s²/m²)
        # and the mean ln m − half of that (Johnson, Kotz, Balakrishnan, Continuous Univariate
        # Distributions 1, 1994, chapter 14).
        variance = math.log1p((self.deviation / self.mean) ** 2)
        middle, spread = math.log(self.mean) - variance / 2, math.sqrt(variance)
        return [random.lognormvariate(middle, spread) for _ in range(count)]

    @property
    def words(self) -> str:
        """What they are, in a few words."""
        told = f"{self.mean:.4g} s"
        return {
            "constant": told,
            "exponential": f"exponential with mean {told}",
            "lognormal": f"lognormal with mean {told}, deviation {self.deviation:.4g} s",
            "recorded": f"{len(self.recorded):,} recorded, mean {told}",
        }[self.kind]


def durations(text: str, name: str) -> Durations:
    """The distribution a text describes; ConfigurationError, with the option's `name`."""
    kind, _, rest = text.partition(":") if text[:1].isalpha() else ("constant", "", text)
    try:
        numbers = [float(part) for part in rest.split(":")]
    except ValueError:
        numbers = []
    known = PARTS.get(kind) == len(numbers)
    if not known or not all(0 <= number < math.inf for number in numbers):
        raise ConfigurationError(f"{name} {text!r} is no duration: {FORMS}")
    deviation = numbers[1] if kind == "lognormal" else 0.0
    if kind == "exponential":
        return Durations("exponential", numbers[0])
    return Durations("lognormal" if kind == "lognormal" else "constant", numbers[0], deviation)
