"""Quantities as a person reads them: three digits, a unit that fits, the interval beside it."""

import math
from collections.abc import Callable

from loadtest.estimate import Estimate

DIGITS = 3
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
NONE = "–"


def number(value: float) -> str:
    """To three digits, with thousands apart and no exponent: `0.0123`, `45.6`, `12,300`."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    rounded = float(f"{value:.{DIGITS - 1}e}")  # first, since 9.996 has a digit more than it shows
    places = DIGITS - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}"


def size(value: float) -> str:
    """A size as it was given, with thousands apart: `1,048,576`."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,g}"


def seconds(value: float) -> str:
    """In the unit that leaves most to read: `1.20 s`, `480 ms`, `35.1 µs`."""
    if value == 0:
        return "0 s"
    rounded = float(f"{abs(value):.{DIGITS - 1}e}")
    unit, name = next((pair for pair in TIMES if rounded >= pair[0]), TIMES[-1])
    return f"{number(value / unit)} {name}"


def amount(value: float, unit: str) -> str:
    """Work or a rate with its prefix: `725 TFLOP/s`, `4.01 TB/s`."""
    rounded = float(f"{abs(value):.{DIGITS - 1}e}")
    by, prefix = next((pair for pair in PREFIXES if rounded >= pair[0]), PREFIXES[-1])
    return f"{number(value / by)} {prefix}{unit}"


def times(value: float) -> str:
    """A ratio: `56.7 ×`."""
    return f"{number(value)} ×"


def percent(value: float) -> str:
    """A share: `87 %`, `3.4 %`, `< 0.1 %`."""
    if 0 < value < 0.0005:
        return "< 0.1 %"
    return f"{100 * value:,.0f} %" if value >= 0.0995 or value == 0 else f"{100 * value:.1f} %"


def change(value: float) -> str:
    """What a ratio adds to 1, signed: `+3.2 %`, `−12.0 %`."""
    return f"{100 * (value - 1):+,.1f} %".replace("-", "−")


def beside(found: Estimate, word: Callable[[float], str], what: str = "call") -> str:
    """The median and its interval: `35.1 ms (34.9 ms to 35.6 ms, 24 calls)`."""
    return f"{word(found.median)} ({within(found, word, what)})"


def within(found: Estimate, word: Callable[[float], str], what: str = "call") -> str:
    """The interval alone, or that there are too few for one: `34.9 ms to 35.6 ms, 24 calls`."""
    if found.low is None or found.high is None:
        return f"{count(found.n, what)}, too few for an interval"
    return f"{word(found.low)} to {word(found.high)}, {count(found.n, what)}"


def faster(found: Estimate) -> str:
    """A speedup with its interval: `56.7 × (55.1 to 57.9, 24 calls)`."""
    return f"{times(found.median)} ({within(found, number)})"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 call`, `1,204 calls`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"
