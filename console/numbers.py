"""Numbers, instants and ids as the console writes them: three significant digits, units always."""

import math
from datetime import UTC, datetime

DASH = "–"
_BYTES = ("B", "kB", "MB", "GB", "TB")
_AGES = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent: 0.0123, 1.23, 123, 12,345."""
    if not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    if rounded and math.floor(math.log10(abs(rounded))) > digits - 1 - places:
        places -= 1  # 0.9996 is 1.00
    return f"{rounded:,.{max(0, min(places, 12))}f}"


def seconds(value: float | None) -> str:
    """A duration: 850 µs, 12.3 ms, 4.1 s, 2 min 5 s, 3 h 20 min; a dash for None."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 0:
        return f"−{seconds(-value)}"
    if value == 0:
        return "0 ms"
    if value < 0.9995e-3:
        return f"{significant(value * 1e6)} µs"
    if value < 0.9995:
        return f"{significant(value * 1e3)} ms"
    if value < 59.95:
        return f"{significant(value)} s"
    whole = round(value)
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    return _two(round(whole / 60), 60, "h", "min") if whole < 86_400 else _days(whole)


def _two(value: int, unit: int, large: str, small: str) -> str:
    first, second = divmod(value, unit)
    return f"{first} {large} {second} {small}" if second else f"{first} {large}"


def _days(value: int) -> str:
    return _two(round(value / 3600), 24, "d", "h")


def size(value: float | None) -> str:
    """Bytes in powers of a thousand: 512 B, 1.20 MB; a dash for None."""
    if value is None:
        return DASH
    amount = float(value)
    for unit in _BYTES[:-1]:
        if abs(amount) < 999.5:
            return f"{amount:.0f} B" if unit == "B" else f"{significant(amount)} {unit}"
        amount /= 1000
    return f"{significant(amount)} {_BYTES[-1]}"


def count(value: float | None) -> str:
    """A whole number with commas; a dash for None."""
    return DASH if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share of one as a percentage: 0.0123 is 1.23 %; a dash for None."""
    if share is None or not math.isfinite(share):
        return DASH
    return "0 %" if share == 0 else f"{significant(share * 100)} %"


def ratio(value: float | None) -> str:
    """How many times: 12.3×; a dash for None."""
    return DASH if value is None else f"{significant(value)}×"


def rate(per_second: float | None) -> str:
    """Something a second, or a minute where that reads better: 12.3/s, 4.00/min."""
    if per_second is None:
        return DASH
    if per_second == 0 or per_second >= 1:
        return f"{significant(per_second)}/s"
    return f"{significant(per_second * 60)}/min"


def ago(at: float | None, now: float) -> str:
    """How long since an instant (unix seconds), in its largest unit: now, 5 s ago, 3 h ago."""
    if at is None:
        return DASH
    passed = now - at
    if abs(passed) < 1:
        return "now"
    return f"in {age(-passed)}" if passed < 0 else f"{age(passed)} ago"


def age(passed: float) -> str:
    """A span in its largest unit, rounded down: 42 s, 3 min, 5 h, 2 d."""
    for unit, name in _AGES:
        if passed >= unit:
            return f"{int(passed // unit)} {name}"
    return f"{int(passed)} s"


def instant(at: float) -> str:
    """An instant (unix seconds) as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def short(id: str, keep: int = 4) -> str:
    """An id shortened in its middle where that saves something: 019a…3f2c."""
    return id if len(id) <= 2 * keep + 4 else f"{id[:keep]}…{id[-keep:]}"
