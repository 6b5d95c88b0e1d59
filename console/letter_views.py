"""Dead letters, and orders about them, as the console's pages show them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from console.clearings import PATIENCE, Clearing
from runtime.letters import Letter
from runtime.model import Attempt, Invocation, Payload

HERE = "/queues/dead"  # the list
SHOWN = 300  # characters of an input, or of an error, in a list


def list_again(form: Mapping[str, Any], told: dict[str, str]) -> str:
    """URL of the list, with the filter that a form kept and what was done."""
    kept = {name: str(form.get(name) or "") for name in ("filter", "limit")}
    query = {"function": kept["filter"], "limit": kept["limit"]} | told
    return f"{HERE}?{urlencode({name: value for name, value in query.items() if value})}"


def number_of(text: str | None) -> int | None:
    """A whole number from a URL or a form; None where it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def notice_of(query: dict[str, str]) -> dict[str, Any] | None:
    """What an action did, told by the URL it led to."""
    what, _, number = query.get("done", "").partition(":")
    if what == "nothing":
        return {"kind": "note", "text": "No letter was ticked: nothing was done.", "links": {}}
    count = number_of(number)
    if count is None:
        return None
    if what == "going":
        text = "That takes longer: it goes on, and what becomes of it is told below."
        return {"kind": "note", "text": text, "links": {}}
    if what not in ("replayed", "discarded"):
        return None
    some = "1 dead letter was" if count == 1 else f"{count:,} dead letters were"
    text = f"{some} {what}."
    kept = number_of(query.get("kept"))
    if kept is not None:
        text += f" {kept:,} {'stays' if kept == 1 else 'stay'}: why is told below."
    links = {}
    if new := query.get("as"):
        links["its new invocation"] = f"/invocations/{new}"
    return {"kind": "good" if kept is None else "note", "text": text, "links": links}


def letter_row(letter: Letter) -> dict[str, Any]:
    """A dead letter as the list shows it."""
    dead, record = letter.dead, letter.record
    message = dead.message
    unreadable = dead.unreadable is not None
    row: dict[str, Any] = {
        "id": message.id,
        "function": message.function,
        "device": message.device,
        "queue": dead.queue,
        "at": dead.at,
        "reason": dead.reason[:SHOWN],
        "unreadable": unreadable,
        "recorded": record is not None,
        "attempt": message.attempt,
        "attempts": [_attempt(each) for each in _attempts(letter)],
        "error": _error(record),
        "value": f"{message.function}/{message.id}",
        "links": {
            "invocation": f"/invocations/{message.id}" if record else None,
            "edit": None if unreadable else _edit_url(message.id, message.function),
        },
    }
    if dead.unreadable is not None:
        text = dead.unreadable[:SHOWN].decode(errors="replace")
        return row | {"input": text, "size": len(dead.unreadable), "parts": [], "error": None}
    return row | input_view(message.payload)


def _edit_url(id: str, function: str) -> str:
    return f"{HERE}/{id}?{urlencode({'function': function})}"


def input_view(payload: Payload) -> dict[str, Any]:
    """The beginning of an input, and how large it is; None where it lies in the blob store."""
    parameters = payload.parameters
    text = None if parameters is None else parameters[: 4 * SHOWN].decode(errors="replace")[:SHOWN]
    return {
        "input": text,
        "size": None if parameters is None else len(parameters),
        "parts": [
            {"name": part.name, "media_type": part.media_type, "size": part.size}
            for part in payload.parts
        ],
    }


def _attempts(letter: Letter) -> list[Attempt]:
    last = letter.record
    if last is None:
        return list(letter.attempts)
    message = last.message
    outcome = Attempt(
        last.id,
        message.attempt,
        last.replica,
        message.device,
        last.started_at,
        last.finished_at,
        last.error,
    )
    return [*letter.attempts, outcome]


def _attempt(attempt: Attempt) -> dict[str, Any]:
    error = attempt.error
    return {
        "attempt": attempt.attempt,
        "device": attempt.device,
        "replica": attempt.replica,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "error": f"{error.type}: {error.message[:SHOWN]}" if error else None,
    }


def _error(record: Invocation | None) -> dict[str, str] | None:
    if record is None or record.error is None:
        return None
    return {"type": record.error.type, "message": record.error.message[:SHOWN]}


def order_view(clearing: Clearing) -> dict[str, Any]:
    """An order about many letters, and how far it has come."""
    return {
        "number": clearing.number,
        "what": clearing.what,
        "functions": list(clearing.functions),
        "asked": clearing.asked,
        "done": clearing.done,
        "kept": clearing.kept,
        "made": clearing.made,
        "faults": clearing.faults,
        "stopped": clearing.stopped,
        "stopping": clearing.stopping,
        "began_at": clearing.began_at,
        "ended_at": clearing.ended_at,
        "went_on": (clearing.ended_at or 0.0) - clearing.began_at >= PATIENCE,
    }
