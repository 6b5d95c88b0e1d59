"""Numbers as people read them: three significant digits, a unit, and – where there is none."""

import math

NONE = "–"
DIGITS = 3
UNITS = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))  # each up to a thousand of it
MINUTE, HOUR = 60, 3600


def number(value: float | None) -> str:
    """Three significant digits, never an exponent: 0.00123, 18, 20.1, 5,230."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    after = DIGITS - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, after):,.{max(0, after)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits them: 182 µs, 18.4 ms, 1.25 s, 2 min 5 s, 3 h 20 min."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds == 0:
        return "0 s"
    if abs(seconds) >= 2 * MINUTE:
        return _long(seconds)
    unit, name = next((each for each in UNITS if abs(seconds) < 999.5 * each[0]), UNITS[-1])
    return f"{number(seconds / unit)} {name}"


def rate(per_second: float | None) -> str:
    """How many a second: 20.1/s."""
    told = number(per_second)
    return told if told == NONE else f"{told}/s"


def share(part: float | None) -> str:
    """A part of one, in percent: 2.11 %."""
    told = number(None if part is None else part * 100)
    return told if told == NONE else f"{told} %"


def count(value: int) -> str:
    """A whole number, all of it: 1,204."""
    return f"{value:,}"


def counted(value: int, one: str, many: str = "") -> str:
    """A number with what it counts: 1 invocation, 1,204 invocations."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def percentile(percent: float) -> str:
    """A percentile's name: p50, p99.9."""
    return f"p{percent:g}"


def line(text: str) -> str:
    """A text from outside on one line, without the characters that steer a terminal."""
    return "".join(each if each.isprintable() else "␛" for each in " ".join(text.split()))


def short(text: str, most: int = 28) -> str:
    """A text on one line, cut where it is too long for a plot."""
    flat = line(text)
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def _long(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
