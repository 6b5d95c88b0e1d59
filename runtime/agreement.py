"""Whether two results say the same, field by field, as far as two devices can be expected to.

Devices add up in different orders, so numbers are compared to within a thousandth.  What is a
measurement (seconds, GFLOP/s) differs by nature: hence field by field, for a reader to judge.
"""

import math
from typing import Any

TOLERANCE = 1e-3  # of the larger of two numbers

Agreement = bool | dict[str, bool]


def agreement(ours: Any, theirs: Any) -> Agreement:
    """For two JSON objects, whether each field agrees (one that only one has does not); else one.

    Numbers agree within a thousandth of the larger, everything else where it is equal, and arrays
    and objects where all that is in them agrees.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = [*ours, *(name for name in theirs if name not in ours)]
        return {n: n in ours and n in theirs and agrees(ours[n], theirs[n]) for n in names}
    return agrees(ours, theirs)


def agrees(ours: Any, theirs: Any) -> bool:
    """Whether two JSON values agree, all through."""
    waiting = [(ours, theirs)]
    while waiting:
        one, other = waiting.pop()
        if _number(one) and _number(other):
            if not math.isclose(one, other, rel_tol=TOLERANCE):
                return False
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            waiting += zip(one, other, strict=True)
        elif isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            waiting += ((one[name], other[name]) for name in one)
        elif type(one) is not type(other) or one != other:
            return False
    return True


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
