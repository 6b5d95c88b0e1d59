"""Tables and words of a Markdown page; what comes from a plan or an error is text, not markup."""

from collections.abc import Sequence

MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*<[|"})


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: its first column to the left, the others to the right.  Cells are Markdown."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def texts(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts, all to the left."""
    escaped = [[plain(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *escaped))


def plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return " ".join(text.split()).translate(MARKUP)


def bullets(lines: Sequence[str]) -> str:
    """A list, one item a line."""
    return "\n".join(f"- {line}" for line in lines)
