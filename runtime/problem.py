"""Errors and failed invocations as problem details (RFC 9457)."""

from typing import Any

import orjson
from starlette.responses import Response

from runtime.errors import InvalidInput, LumbreError, Unavailable
from runtime.model import Failure, Invocation, Status

BROKER_AWAY = "BrokerAway"  # the error of a call that the broker did not take
MEDIA_TYPE = "application/problem+json"

# How a terminal status answers a caller: HTTP status, title, and what to do next.
OUTCOMES: dict[Status, tuple[int, str, str]] = {
    Status.FAILED: (500, "The function raised", "its output is at /invocations/{id}/logs"),
    Status.TIMED_OUT: (504, "Timed out", "raise the function's timeout, or ask for less work"),
    Status.CANCELLED: (409, "Cancelled", "run it again: POST /invocations/{id}/replay"),
    Status.DEAD: (
        502,
        "The replica died on every attempt",
        "see /invocations/{id}/logs; run it again: POST /invocations/{id}/replay",
    ),
}


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    kind: str = "about:blank",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem+json response; `more` are extension members."""
    body = {"type": kind, "title": title, "status": status, "detail": detail, **more}
    return Response(
        orjson.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=headers or {}
    )


def problem_of(error: LumbreError, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that was refused."""
    headers = dict(headers or {})
    if (after := getattr(error, "retry_after", None)) is not None:
        headers["Retry-After"] = str(after)
    if challenge := getattr(error, "challenge", None):
        headers["WWW-Authenticate"] = challenge
    more: dict[str, Any] = {}
    if isinstance(error, InvalidInput):
        more["errors"] = [{"pointer": p, "detail": d} for p, d in error.errors]
    kind = f"lumbre:{type(error).__name__}"
    return problem(error.status, error.title, str(error), kind=kind, headers=headers, **more)


def problem_of_outcome(invocation: Invocation, debug: bool, headers: dict[str, str]) -> Response:
    """The answer to whoever waits for an invocation that did not succeed."""
    error = invocation.error or Failure("Unknown", "nothing was recorded")
    status, title, next_step = OUTCOMES[invocation.status]
    more: dict[str, Any] = {
        "invocation_id": invocation.id,
        "error": {"type": error.type, "message": error.message},
    }
    detail = f"{error.type}: {error.message}; {next_step.format(id=invocation.id)}"
    if invocation.status is Status.FAILED and error.type == InvalidInput.__name__:
        status, title, detail = InvalidInput.status, InvalidInput.title, error.message
        faults = error.details.get("errors", [])
        more = {
            "invocation_id": invocation.id,
            "errors": [{"pointer": pointer, "detail": text} for pointer, text in faults],
        }
    elif error.type == BROKER_AWAY:
        status, title, detail = Unavailable.status, Unavailable.title, error.message
        headers = {**headers, "Retry-After": "2"}
    elif debug and error.traceback:
        more["error"]["traceback"] = error.traceback
    kind = f"lumbre:{invocation.status.value}"
    return problem(status, title, detail, kind=kind, headers=headers, **more)
