"""What a request asks for besides its body: from its query string and its headers."""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs

from runtime.errors import Forbidden, InvalidInput
from runtime.model import DEVICES, Device, derived_traceparent, new_id
from runtime.telemetry import child_traceparent

OWN_ID = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")  # what new_id makes
DIGITS = re.compile(r"[0-9]{1,10}")

Headers = dict[bytes, bytes]


def trace_of(id: str, headers: Headers) -> str | None:
    """The traceparent of a new invocation; None where it can be derived from the id."""
    given = headers.get(b"traceparent")
    trace = child_traceparent(given.decode("latin-1")) if given else None
    if trace is None and not OWN_ID.fullmatch(id):
        trace = derived_traceparent(new_id())
    return trace


def refuse_other_sites(headers: Headers) -> None:
    """Raise Forbidden for what a page of another site has a browser send.

    Browsers say so in Sec-Fetch-Site (W3C Fetch Metadata) or, older ones, by an Origin that is not
    the Host they ask.  Programs send neither.
    """
    site = headers.get(b"sec-fetch-site")
    origin = headers.get(b"origin")
    if site is None and origin is None:
        return
    if site in (b"same-origin", b"none"):
        return
    if site is None and origin is not None and origin.partition(b"://")[2] == headers.get(b"host"):
        return
    raise Forbidden(
        "a page of another site sent this request: send it from a program, or from here"
    )


def device_asked(query: bytes) -> str:
    """The `device` of a query string; auto where there is none."""
    return parse_qs(query.decode("latin-1")).get("device", ["auto"])[-1]


def known_device(text: str | None) -> Device | None:
    """A device to filter by, None for any; InvalidInput for what is none."""
    if text is None:
        return None
    for device in DEVICES:
        if device == text:
            return device
    raise InvalidInput("device", f"is {text!r}: one of cpu, gpu")


def without(query: bytes) -> bytes:
    """The query string without what PUT /invocations/{id} takes for itself."""
    pairs = query.split(b"&")
    return b"&".join(p for p in pairs if not p.startswith((b"function=", b"device=")))


def preference(header: bytes) -> tuple[float | None, str | None]:
    """Seconds to wait and what to say was applied, from Prefer (RFC 7240 §4.1 and §4.3)."""
    wait: float | None = None
    applied = []
    for item in header.decode("latin-1").split(","):
        name, _, value = item.strip().partition("=")
        if name.lower() == "respond-async":
            wait = wait or 0.0
            applied.append("respond-async")
        elif name.lower() == "wait" and DIGITS.fullmatch(seconds := value.strip('" ')):
            wait = float(seconds)
            applied.append(f"wait={seconds}")
    return wait, ", ".join(applied) or None


def whole(text: str, field: str, low: int, high: int) -> int:
    """A whole number within bounds, or InvalidInput."""
    if not DIGITS.fullmatch(text) or not low <= int(text) <= high:
        raise InvalidInput(field, f"is {text!r}: give a whole number from {low} to {high}")
    return int(text)


def instant(text: str | None) -> float | None:
    """Unix seconds from an RFC 3339 instant, UTC where it names no zone; or InvalidInput."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise InvalidInput(
            "since", f"is {text!r}: give an RFC 3339 instant such as 2026-11-23T12:00:00Z"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
