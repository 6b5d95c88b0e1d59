"""Curves out of numbers that a function told: lists in its result, values of its progress."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from console import numbers

POINTS = 300  # of one curve; of a longer one every n-th, and the last
SHORTEST = 3  # numbers that make a curve
DECADES = 100  # times the least value, and a curve is drawn on a log scale
MOST = 4  # curves shown of one result

Chart = dict[str, Any]


def of_result(value: Any) -> Iterator[Chart]:
    """A chart for each list of numbers at the top of a result: `{"losses": [2.3, 1.1, …]}`.

    Curves of losses come first.  Where a whole number beside it is as large as the list is long,
    as in `{"epochs": 10}`, that is what the numbers are counted in.
    """
    if isinstance(value, list):
        value = {"result": value}
    if not isinstance(value, dict):
        return
    found = [(name, given) for name, given in value.items() if _is_curve(given)]
    found.sort(key=lambda pair: "loss" not in pair[0].lower())
    for name, given in found[:MOST]:
        yield curve(name, _counted_in(value, len(given)), list(range(1, len(given) + 1)), given)


def curve(name: str, xname: str, x: Sequence[float], y: Sequence[float | None]) -> Chart:
    """A chart of one curve, thinned where it is long, with a sentence about how it went."""
    step = math.ceil(len(y) / POINTS)
    kept = [*range(0, len(y), step)]
    if kept and kept[-1] != len(y) - 1:
        kept.append(len(y) - 1)
    tone = "accent" if "loss" in name.lower() else "good"
    xs, ys = [x[i] for i in kept], [y[i] for i in kept]
    words = name.replace("_", " ").encode(errors="replace").decode()  # JSON has half characters
    return {
        "kind": "lines",
        "title": words[:1].upper() + words[1:],
        "caption": _told(words, xname, y),
        "data": {
            "xname": xname,
            "series": [{"name": words, "x": xs, "y": ys, "tone": tone}],
            "unit": "number",
            "log": _spans(y),
        },
        "table": {
            "columns": [xname, words],
            "rows": [[f"{a:g}", _number(b)] for a, b in zip(xs, ys, strict=True)],
        },
    }


def _spans(y: Sequence[float | None]) -> bool:
    """Whether it falls or rises so far that only a log scale shows all of it."""
    known = [number for number in y if number is not None]
    return bool(known) and min(known) > 0 and max(known) >= min(known) * DECADES


def _is_curve(value: Any) -> bool:
    if not isinstance(value, list) or len(value) < SHORTEST:
        return False
    numeric = [isinstance(y, int | float) and not isinstance(y, bool) for y in value]
    if not all(is_number or y is None for is_number, y in zip(numeric, value, strict=True)):
        return False
    return sum(numeric) >= SHORTEST and all(abs(y) < 1e300 for y in value if y is not None)


def _counted_in(value: dict[str, Any], length: int) -> str:
    for name, count in value.items():
        if count == length and type(count) is int and name.endswith("s"):
            return name.removesuffix("s").replace("_", " ")
    return "step"


def _told(words: str, xname: str, y: Sequence[float | None]) -> str:
    known = [number for number in y if number is not None]
    if not known:
        return f"No {words} yet."
    first, last = known[0], known[-1]
    went = "rose" if last > first else "fell" if last < first else "stayed"
    many = f"{len(y):,} {xname}{'' if len(y) == 1 else 's'}"
    if went == "stayed":
        return f"{words} ended as it began, at {_number(last)}, over {many}."
    return f"{words} {went} from {_number(first)} to {_number(last)} over {many}."


def _number(value: float | None) -> str:
    return numbers.DASH if value is None else numbers.significant(value, 4)
