"""A report as Markdown (GitHub's): for terminals, issues and pull requests; plots are named."""

import re
from collections.abc import Iterator, Sequence

from loadtest.report.block import Block, Code, Paragraph, Plot, Points, Report, Table, Terms

# What Markdown reads as markup within a line; `_` only where it could begin or end an emphasis.
MARKUP = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=[\w#])")
BEGINNING = re.compile(r"^(\s*)([#+\-=]|\d+(?=[.)]))")  # of a line: headings, lists, rules


def markdown(report: Report, page: str) -> str:
    """The report; `page` is the name of the file that has its plots."""
    parts = [f"# {escaped(report.title)}"]
    parts += [_paragraph(each) for each in report.lead]
    parts.append(f"Plots are in [{page}]({page}).")
    for section in report.sections:
        parts.append(f"## {escaped(section.title)}")
        parts += [text for block in section.blocks for text in _block(block)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """A text in which nothing is markup, on one line."""
    flat = MARKUP.sub(lambda found: "\\" + found[0], " ".join(text.split()))
    return BEGINNING.sub(r"\1\\\2", flat) if not flat[:1].isdigit() else _number(flat)


def _number(text: str) -> str:
    """A text that begins with a digit: `1.` and `1)` would begin a list."""
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            yield _paragraph(block)
        case Points(items):
            yield "\n".join(f"- {escaped(item)}" for item in items)
        case Terms(items):
            yield "\n".join(f"- **{escaped(name)}**: {escaped(text)}" for name, text in items)
        case Code(text, language):
            fence = "`" * max(3, 1 + _longest_ticks(text))
            yield f"{fence}{language}\n{text}\n{fence}"
        case Table():
            yield escaped(block.caption) + ":"
            yield _table(block)
        case Plot():
            return  # its numbers are in the tables


def _paragraph(block: Paragraph) -> str:
    text = escaped(block.text)
    return f"> **{text}**" if block.tone in ("bad", "warning") else text


def _table(table: Table) -> str:
    marks = [":---" if table.is_text(column) else "---:" for column in range(len(table.head))]
    return "\n".join(map(_row, (table.head, marks, *table.rows)))


def _row(cells: Sequence[str]) -> str:
    shown = (cell if set(cell) <= set(":-") else escaped(cell) for cell in cells)
    return f"| {' | '.join(shown)} |"


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
