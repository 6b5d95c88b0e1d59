"""What can go wrong with a request, each with one name and one sentence.

Names of outcomes that Lumbre knows are its own statuses (failed, timed_out, cancelled, dead).  A
fault is said to be the function's only where the answer says so: the same HTTP status from a
proxy or another server is `server_error`.
"""

import ssl

import httptools

from loadtest.answer import Answer

SUCCEEDED = "succeeded"
ACCEPTED = "accepted"  # 202: it will be run
THROTTLED = "throttled"

NO_FAULTS = frozenset({SUCCEEDED, ACCEPTED, THROTTLED})

EXPLANATIONS: dict[str, str] = {
    "failed": "The function raised.",
    "dead": "The replica died on every attempt.",
    "timed_out": "The function ran longer than its own timeout, and was stopped.",
    "cancelled": "Somebody cancelled the invocation.",
    "unknown_function": "The server knows no such function or path.",
    "invalid_input": "A parameter does not fit the function's schema.",
    "rejected": "The server refused the request; the example says with which status and why.",
    "unavailable": "Nothing could run it then: no replica, no broker, or the node was draining.",
    "server_error": "The server itself, or a proxy before it, failed; not the function.",
    THROTTLED: "Still 429 (queue or quota full) after every retry of the plan.",
    "refused": "Nothing listened at the address.",
    "reset": "The connection was cut while the request was under way.",
    "closed": "The server closed the connection before its answer was whole.",
    "no_answer": "No whole answer came within the plan's timeout.",
    "unreachable": "No connection could be made, for another reason than a refusal.",
    "bad_answer": "What came was not HTTP.",
    "tls": "The encrypted connection could not be set up.",
}

OUTCOMES = {f"lumbre:{name}": name for name in ("failed", "dead", "timed_out", "cancelled")}
STATUSES = {404: "unknown_function", 422: "invalid_input", 429: THROTTLED, 503: "unavailable"}


class NoAnswer(Exception):
    """The plan's timeout was over before the answer was whole."""


class Cut(Exception):
    """The server ended the connection in an orderly way, before its answer was whole."""


def of_answer(answer: Answer) -> str:
    """The status of what was answered: `succeeded`, `accepted`, or a fault's name."""
    status = answer.status
    if 200 <= status < 300:
        return ACCEPTED if status == 202 else SUCCEEDED
    kind = answer.problem.get("type")
    if isinstance(kind, str) and kind in OUTCOMES:
        return OUTCOMES[kind]
    return STATUSES.get(status) or ("server_error" if status >= 500 else "rejected")


def of_error(error: BaseException) -> str:
    """The fault of a request that was not answered."""
    match error:
        case NoAnswer():
            return "no_answer"
        case Cut():
            return "closed"
        case httptools.HttpParserError():
            return "bad_answer"
        case ssl.SSLError():  # an OSError, too: before the others
            return "tls"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionError():
            return "reset"
    return "unreachable"


def told(error: BaseException) -> str:
    """What happened, in a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
