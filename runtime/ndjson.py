"""Newline-delimited JSON as it comes in: whole lines out of pieces of any length."""

from typing import NamedTuple

from runtime.errors import TooLarge
from runtime.model import INLINE_LIMIT

MEDIA_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")


class Line(NamedTuple):
    """A line that is not blank, without the white space around it, and its number from 1."""

    number: int
    data: bytes


class Splitter:
    """Makes lines of pieces; no more than one line and one piece is held at a time."""

    def __init__(self, limit: int = INLINE_LIMIT) -> None:
        self._limit = limit  # bytes of one line
        self._rest = b""  # of a line whose end has not come
        self._ended = 0  # lines, blank ones too

    def feed(self, piece: bytes) -> list[Line]:
        """The lines that have ended with this piece; TooLarge names one that is over the limit."""
        *ended, self._rest = (self._rest + piece).split(b"\n")
        lines = self._numbered(ended)
        self._check(self._ended + 1, self._rest)
        return lines

    def end(self) -> list[Line]:
        """The last line, where no newline ended it."""
        rest, self._rest = self._rest, b""
        return self._numbered([rest])

    def _numbered(self, ended: list[bytes]) -> list[Line]:
        lines = []
        for text in ended:
            self._ended += 1
            self._check(self._ended, text)
            if data := text.strip():
                lines.append(Line(self._ended, data))
        return lines

    def _check(self, number: int, text: bytes) -> None:
        if len(text) > self._limit:
            raise TooLarge(
                f"line {number} has more than {self._limit:,} bytes: invoke the function with it by"
                " itself, and batch the others"
            )
