"""What can go wrong, named for what the caller can do about it.

LumbreError
  ├─ ConfigurationError        the process, or a function, cannot be used like this
  ├─ BadRequest           400  the body cannot be read
  ├─ Unauthorized         401  no API key was sent, or none that counts
  ├─ Forbidden            403  the key lacks the scope, or a page of another site sent it
  ├─ NotFound             404  no such function, invocation or blob
  ├─ Conflict             409  the same key or id with another input
  ├─ TooLarge             413  the input is over LUMBRE_MAX_BODY
  ├─ UnsupportedMediaType 415  this function takes no such body
  ├─ InvalidInput         422  a parameter fails its schema; functions may raise it too
  ├─ Overloaded           429  the queue is full; carries Retry-After
  │    └─ RateExceeded    429  the API key is over its rate
  └─ Unavailable          503  no replica can exist here, or the node is draining

Each carries its HTTP status; `runtime.problem` turns it into RFC 9457 problem details.
"""

from collections.abc import Sequence


class LumbreError(Exception):
    """An error whose text tells what happened and what to do."""

    status = 500
    title = "Internal error"


class ConfigurationError(LumbreError):
    """Settings or a function definition that cannot work."""

    title = "Configuration error"


class BadRequest(LumbreError):
    """The request cannot be read as what it says it is."""

    status = 400
    title = "Unreadable request"


class Unauthorized(LumbreError):
    """No API key was sent, or none that counts: unknown, revoked, or expired."""

    status = 401
    title = "API key needed"
    challenge = "Bearer"  # in WWW-Authenticate (RFC 9110 §11.6.1, RFC 6750 §3)


class Forbidden(LumbreError):
    """The API key has not the scope, or nothing may be changed here, or it came from elsewhere.

    That is: a browser sent it for a page of another site, or under a name that is not this node's.
    """

    status = 403
    title = "Forbidden"


class NotFound(LumbreError):
    """There is no such function, invocation or blob."""

    status = 404
    title = "Not found"


class Conflict(LumbreError):
    """The same idempotency key or id was used before with another input."""

    status = 409
    title = "Conflict"


class TooLarge(LumbreError):
    """The input is larger than this gateway takes."""

    status = 413
    title = "Input too large"


class UnsupportedMediaType(LumbreError):
    """The function takes no body of this media type."""

    status = 415
    title = "Unsupported media type"


class InvalidInput(LumbreError):
    """A parameter is not what the function takes.

    `field` names the parameter (or is a JSON pointer into it, such as `/layers/0`); `detail` says
    what was wrong and what to send instead.  A function may raise it for input that only it can
    judge, such as bytes that are no image: the caller gets a 422, not a 500.
    """

    status = 422
    title = "Invalid input"

    def __init__(self, field: str, detail: str, *more: tuple[str, str]) -> None:
        self.errors: Sequence[tuple[str, str]] = ((_pointer(field), detail), *more)
        super().__init__("; ".join(f"{p.lstrip('/') or 'input'}: {d}" for p, d in self.errors))


class Overloaded(LumbreError):
    """The queue is at its limit; try again after `retry_after` seconds."""

    status = 429
    title = "Queue full"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class RateExceeded(Overloaded):
    """The API key has made as many invocations as it may; try again after `retry_after` seconds."""

    title = "Rate exceeded"


class Unavailable(LumbreError):
    """Nothing can run this here and now; try again after `retry_after` seconds."""

    status = 503
    title = "Unavailable"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


def _pointer(field: str) -> str:
    return field if field.startswith("/") or not field else f"/{field}"
