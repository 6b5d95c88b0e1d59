"""One line of a benchmark: what was measured, the limit it is held to, and how it came out."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Repeated measurements of one quantity; at least one."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Sample":
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self, unit: str) -> str:
        """Median, least and most, and how many: `23.1 ms (22.0 to 31.4, n = 20)`."""
        low, high = figure(min(self.values)), figure(max(self.values))
        return f"{figure(self.median)} {unit} ({low} to {high}, n = {len(self.values)})"


@dataclass(frozen=True, slots=True)
class Check:
    """A measured number and the budget it is held to, in one unit."""

    value: float
    limit: float
    unit: str
    at_least: bool = False  # else at most

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def budget(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"

    @property
    def missed(self) -> str:
        """By how much it was missed, in the unit and as a part of the limit."""
        by = abs(self.value - self.limit)
        return f"missed by {figure(by)} {self.unit} ({100 * by / self.limit:.0f} %)"


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, and what it means."""

    what: str
    measured: str
    detail: str
    checks: tuple[Check, ...] = ()
    faults: tuple[str, ...] = ()  # what makes the numbers worthless, such as wrong answers

    @property
    def budget(self) -> str:
        return ", ".join(check.budget for check in self.checks) or "none"

    @property
    def met(self) -> bool:
        return not self.faults and all(check.met for check in self.checks)

    @property
    def verdict(self) -> str:
        """`met`, or what was not; a row without a budget is only measured."""
        misses = [check.missed for check in self.checks if not check.met]
        fallback = "met" if self.checks else "measured"
        return "; ".join([*self.faults, *misses]) or fallback


def figure(value: float) -> str:
    """A number with as many digits as matter here: `12,345`, `74.1`, `0.25`, `-0.02`."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
