"""What a load test reads from an answer: its status, some headers, and why it was no success.

Nothing here is the hot path but `phases`, which runs once for each answer that has timings.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

RETRY_AFTER = 1.0  # seconds to wait after a 429 that does not say how long
LONGEST_EXAMPLE = 300  # characters of what was said
DURATION = ";dur="


@dataclass(slots=True)
class Answer:
    """An answer as it came; header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes  # of failures only: what a success says is not kept

    def text(self, name: bytes) -> str | None:
        """A header as text, None where there is none."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def problem(self) -> dict[str, Any]:
        """The members of problem details (RFC 9457); empty where the body has none."""
        if b"json" not in self.headers.get(b"content-type", b""):
            return {}
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def said(self) -> str:
        """What a failure says of itself, in one line that starts with its status."""
        problem = self.problem
        told = problem.get("detail") or problem.get("title") or self.body.decode(errors="replace")
        line = " ".join(f"{self.status} {told}".split())
        return line if len(line) <= LONGEST_EXAMPLE else f"{line[: LONGEST_EXAMPLE - 1]}…"


def phases(timing: bytes) -> list[tuple[str, float]]:
    """Names and seconds of a Server-Timing header (W3C); metrics without a duration are left out.

    A part that is no number of milliseconds is left out, too: what a server says wrongly of itself
    is no reason to lose the answer.
    """
    found = []
    for metric in timing.decode("latin-1").split(","):
        name, _, value = metric.partition(DURATION)
        try:
            milliseconds = float(value.partition(";")[0].strip('" '))
        except ValueError:
            continue
        if 0 <= milliseconds < math.inf:
            found.append((name.partition(";")[0].strip(), milliseconds / 1e3))
    return found


def retry_after(value: str | None, now: datetime) -> float:
    """Seconds that a Retry-After header asks to wait (RFC 9110 §10.2.3: seconds or an HTTP date).

    1 where it says nothing that can be read, 0 where its instant is over; `now` has a time zone.
    """
    if value is None:
        return RETRY_AFTER
    if value.strip().isdecimal():
        return float(value)
    try:
        instant = parsedate_to_datetime(value)
    except ValueError:
        return RETRY_AFTER
    if instant.tzinfo is None:  # "-0000": in UTC, of no known zone
        instant = instant.replace(tzinfo=now.tzinfo)
    return max(0.0, (instant - now).total_seconds())
