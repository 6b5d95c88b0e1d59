"""Numbers as people read them: three significant digits, a unit that fits, – where there is none.

What was measured keeps the zeros at its end, since they are digits too: `1.20 s`.  What was given
or counted is whole, and percents and the ticks of an axis are as short as they can be.
"""

import math

NONE = "–"
MINUS = "−"
DIGITS = 3
SIXTY = 60  # seconds of a minute, and minutes of an hour
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
EXACT = 10  # digits of what somebody chose, or a function gave
WHOLE = 1e15  # below it every whole float is exactly that whole number


def number(value: float | None, digits: int = DIGITS) -> str:
    """Thousands apart, and no exponent: `0.0123`, `45.0`, `12,300`."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    rounded = _rounded(value, digits)  # first, since 9.996 has a digit more than it shows
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}".replace("-", MINUS)


def given(value: float | None) -> str:
    """A value that somebody chose: `1,048,576`, `0.5`."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:,.0f}" if value == int(value) and abs(value) < WHOLE else f"{value:,.{EXACT}g}"
    return text.replace("-", MINUS, 1) if value < 0 else text


def exact(value: float | None) -> str:
    """What a function gave, to be held against another's: `15234.25`, `-3.1e-07`."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.{EXACT}g}"


def count(value: int) -> str:
    """A whole number, all of it: `1,204`."""
    return f"{value:,}"


def counted(value: int, one: str, many: str = "") -> str:
    """A number with what it counts: `1 call`, `1,204 calls`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def duration(seconds: float | None, digits: int = DIGITS) -> str:
    """Seconds in the unit that fits: `35.1 µs`, `480 ms`, `1.20 s`, `2 min 5 s`, `3 h 20 min`."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 0:
        return f"{MINUS}{duration(-seconds, digits)}"
    if _rounded(seconds, digits) >= 2 * SIXTY:
        return _long(seconds, digits)
    unit, name = _unit(seconds, digits)
    return f"{number(seconds / unit, digits)} {name}"


def tick(seconds: float) -> str:
    """Seconds beside an axis: `50 µs`, `1 ms`, `30 s`."""
    unit, name = _unit(abs(seconds), DIGITS)
    return f"{_bare(number(seconds / unit))} {name}"


def rate(per_second: float | None, digits: int = DIGITS) -> str:
    """How many a second: `20.1/s`."""
    told = number(per_second, digits)
    return told if told == NONE else f"{told}/s"


def amount(value: float | None, unit: str) -> str:
    """Work or a rate with its prefix: `725 TFLOP/s`, `4.01 TB/s`."""
    if value is None or not math.isfinite(value):
        return NONE
    rounded = _rounded(abs(value), DIGITS)
    by, prefix = next((pair for pair in PREFIXES if rounded >= pair[0]), PREFIXES[-1])
    return f"{number(value / by)} {prefix}{unit}"


def times(ratio: float | None) -> str:
    """A ratio: `56.7 ×`."""
    told = number(ratio)
    return told if told == NONE else f"{told} ×"


def share(part: float | None, digits: int = DIGITS) -> str:
    """A part of one, without zeros at the end: `87.4 %`, `95 %`, `0.02 %`."""
    told = number(None if part is None else 100 * part, digits)
    return told if told == NONE else f"{_bare(told)} %"


def change(ratio: float | None) -> str:
    """What a ratio adds to 1, signed: `+3.2 %`, `−12.0 %`."""
    if ratio is None or not math.isfinite(ratio):
        return NONE
    return f"{100 * (ratio - 1):+,.1f} %".replace("-", MINUS)


def percentile(percent: float) -> str:
    """A percentile's name: `p50`, `p99.9`."""
    return f"p{percent:g}"


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def _unit(seconds: float, digits: int) -> tuple[float, str]:
    rounded = _rounded(seconds, digits)
    if rounded == 0:
        return TIMES[0]
    return next((pair for pair in TIMES if rounded >= pair[0]), TIMES[-1])


def _bare(told: str) -> str:
    return told.rstrip("0").rstrip(".") if "." in told else told


def _long(seconds: float, digits: int) -> str:
    minutes, rest = divmod(round(seconds, digits - DIGITS), SIXTY)
    if minutes < SIXTY:
        return f"{minutes:.0f} min {rest:g} s" if rest else f"{minutes:.0f} min"
    hours, minutes = divmod(round(seconds / SIXTY), SIXTY)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
