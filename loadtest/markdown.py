"""Markdown (GitHub's) of texts that may hold anything: none of them becomes markup."""

import re
from collections.abc import Container, Iterable, Sequence

from loadtest.line import line

# What Markdown reads as markup within a line; `_` only where it could begin or end an emphasis.
MARKUP = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=[\w#])")
BEGINNING = re.compile(r"^(\s*)([#+\-=])")  # of a line: headings, lists, rules
NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")  # of a line: lists, too
TICKS = re.compile("`+")


def plain(text: str) -> str:
    """A text on one line that is read as it is, within a line or a cell of a table."""
    return MARKUP.sub(lambda found: "\\" + found[0], line(text))


def paragraph(text: str) -> str:
    """A text that is read as it is, and begins neither a heading nor a list."""
    return NUMBERED.sub(r"\1\\\2", BEGINNING.sub(r"\1\\\2", plain(text)))


def bullets(items: Iterable[str]) -> str:
    """A list of items that are Markdown."""
    return "\n".join(f"- {item}" for item in items)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Container[int] | None = None
) -> str:
    """A table of cells that are Markdown.

    `numbers` are the columns that are read from their right edge: all but the first, if not given.
    """
    right = range(1, len(head)) if numbers is None else numbers
    rule = ["---:" if column in right else ":---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def texts(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Container[int] = ()) -> str:
    """A table of plain texts."""
    cells = [[plain(cell) for cell in row] for row in rows]
    return table([plain(cell) for cell in head], cells, numbers)


def code(text: str, language: str = "") -> str:
    """What is to be copied as it is, whatever is in it."""
    longest = max((len(ticks) for ticks in TICKS.findall(text)), default=0)
    fence = "`" * max(3, 1 + longest)
    return f"{fence}{language}\n{text}\n{fence}"
