"""Parameters that somebody edits before they are sent: read, checked, set against the original."""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runtime.errors import InvalidInput, LumbreError
from runtime.intake import Validator, parse_object

EDITABLE = 64_000  # bytes of JSON that may be edited in a page
AROUND = 3  # unchanged lines that are shown around a change
COMPARED = 500_000  # pairs of lines, at most: all of two longer texts counts as changed


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a difference."""

    kind: Literal["same", "added", "removed", "gap"]
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wrote in the place of parameters."""

    text: str  # as they wrote it
    value: dict[str, Any] | None  # None where it is no JSON object
    faults: Sequence[str]  # why it cannot be sent
    lines: Sequence[Line]  # what is different; none where nothing is

    @property
    def compact(self) -> str:
        """What is to be sent."""
        return json.dumps(self.value, ensure_ascii=False, separators=(",", ":"))


def readable(parameters: bytes) -> str:
    """Parameters as people read them, indented by two; as they are where they are no JSON."""
    text = parameters.decode(errors="replace")
    try:
        return _indented(json.loads(text or "{}"))
    except ValueError:
        return text


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _same(value: dict[str, Any], original: bytes) -> bool:
    """Whether both are one object, in whatever order; as text, since to Python 1 is true."""
    try:
        before = json.loads(original or b"{}")
    except ValueError:
        return False
    return json.dumps(value, sort_keys=True) == json.dumps(before, sort_keys=True)


def draft_of(
    text: str, original: bytes, validator: Validator | None, parts: frozenset[str]
) -> Draft:
    """Read what somebody wrote; `parts` are the uploads that go with it."""
    try:
        value = _parsed(text)
    except LumbreError as error:
        return Draft(text, None, [str(error)], [])
    lines = [] if _same(value, original) else list(difference(readable(original), _indented(value)))
    return Draft(text, value, _faults(value, validator, parts), lines)


def _parsed(text: str) -> dict[str, Any]:
    """The object that a text is; by Python's reader, whose whole numbers may have any length."""
    parse_object(text.encode(), "what was written")
    parsed: dict[str, Any] = json.loads(text or "{}")
    return parsed


def _faults(value: dict[str, Any], validator: Validator | None, parts: frozenset[str]) -> list[str]:
    if validator is None:
        return []
    try:
        validator.check(value, parts)
    except InvalidInput as error:
        return [f"{pointer.lstrip('/') or 'input'}: {detail}" for pointer, detail in error.errors]
    return []


def difference(before: str, after: str) -> Iterator[Line]:
    """What is different between two texts, line by line, with a little of what is around it."""
    old, new = before.splitlines(), after.splitlines()
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    if head == len(old) == len(new):
        return
    if head > AROUND:
        yield Line("gap", _unchanged(head - AROUND))
    yield from (Line("same", text) for text in old[max(0, head - AROUND) : head])
    yield from _changes(old[head : len(old) - tail], new[head : len(new) - tail])
    after_it = old[len(old) - tail :]
    yield from (Line("same", text) for text in after_it[:AROUND])
    if len(after_it) > AROUND:
        yield Line("gap", _unchanged(len(after_it) - AROUND))


def _alike(one: list[str], other: list[str]) -> int:
    """How many lines two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _changes(old: list[str], new: list[str]) -> Iterator[Line]:
    """What is different between the first difference and the last."""
    if len(old) * len(new) > COMPARED:
        yield from (Line("removed", text) for text in old)
        yield from (Line("added", text) for text in new)
        return
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        if tag != "equal":
            yield from (Line("removed", text) for text in old[i1:i2])
            yield from (Line("added", text) for text in new[j1:j2])
        elif i2 - i1 <= 2 * AROUND:
            yield from (Line("same", text) for text in old[i1:i2])
        else:
            yield from (Line("same", text) for text in old[i1 : i1 + AROUND])
            yield Line("gap", _unchanged(i2 - i1 - 2 * AROUND))
            yield from (Line("same", text) for text in old[i2 - AROUND : i2])


def _unchanged(lines: int) -> str:
    return f"{lines:,} unchanged {'line' if lines == 1 else 'lines'}"
