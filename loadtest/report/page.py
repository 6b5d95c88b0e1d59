"""A report as one HTML file: no script, nothing from elsewhere, light and dark, wide and narrow."""

from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from pathlib import Path

from loadtest.report.block import (
    Block,
    Code,
    Paragraph,
    Plot,
    Points,
    Report,
    Section,
    Table,
    Terms,
)

CSS = Path(__file__).with_suffix(".css")
LONG = 30  # letters of a cell that may be broken into lines
# A page that loads nothing needs to be allowed nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: Report, plots: Mapping[str, str], source: str) -> str:
    """The report; `plots` are SVG elements by name, `source` the file that it was made from."""
    body = [
        "<header>",
        f"<h1>{escape(report.title)}</h1>",
        *(_paragraph(each, "lead") for each in report.lead),
        _numbers(report),
        "</header>",
        "<main>",
        *(text for section in report.sections for text in _section(section, plots)),
        "</main>",
        f"<footer>Made by Lumbre from {escape(source)}.</footer>",
    ]
    return "\n".join([*_head(report), *body, "</body>", "</html>"]) + "\n"


def _head(report: Report) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(report.title)}</title>"
    yield f"<style>\n{CSS.read_text(encoding='utf-8').strip()}\n</style>"
    yield "</head>"
    yield "<body>"


def _numbers(report: Report) -> str:
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in report.figures
    )
    return f'<dl class="numbers">{"".join(cells)}</dl>'


def _section(section: Section, plots: Mapping[str, str]) -> Iterator[str]:
    name = "-".join("".join(c if c.isalnum() else " " for c in section.title.lower()).split())
    yield f'<section aria-labelledby="{name}">'
    yield f'<h2 id="{name}">{escape(section.title)}</h2>'
    for drawn, blocks in groupby(section.blocks, lambda block: isinstance(block, Plot)):
        found = [_block(block, plots) for block in blocks]
        beside = drawn and len(found) > 1
        yield "\n".join(['<div class="plots">', *found, "</div>"] if beside else found)
    yield "</section>"


def _block(block: Block, plots: Mapping[str, str]) -> str:
    match block:
        case Paragraph():
            return _paragraph(block)
        case Points(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Terms(items):
            told = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items)
            return f'<dl class="terms">{"".join(told)}</dl>'
        case Code(text):
            return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
        case Table():
            return _table(block)
        case Plot(name, caption):
            words = f"<figcaption>{escape(caption)}</figcaption>"
            return f"<figure>\n{plots[name]}\n{words}\n</figure>"


def _paragraph(block: Paragraph, of: str = "") -> str:
    """A paragraph; what bears on the numbers begins with a bold word, and not with colour alone."""
    text = escape(block.text)
    if block.tone == "plain":
        return f'<p class="{of}">{text}</p>' if of else f"<p>{text}</p>"
    first, mark, rest = text.partition(":") if ":" in text[:40] else text.partition(".")
    classes = " ".join(filter(None, (of, "note", block.tone)))
    return f'<p class="{classes}"><strong>{first}{mark}</strong>{rest}</p>'


def _table(table: Table) -> str:
    """A table that scrolls by itself where the page is too narrow, by keyboard as well."""
    head = "".join(
        f'<th scope="col"{_side(table, column)}>{escape(name)}</th>'
        for column, name in enumerate(table.head)
    )
    rows = "\n".join(_rows(table))
    caption = escape(table.caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table>\n'
        f"<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _rows(table: Table) -> Iterator[str]:
    """Rows; where most share their first names, those are paler after the first of them."""
    firsts = [row[: table.names - 1] for row in table.rows]
    grouped = table.names > 1 and 2 * len(set(firsts)) <= len(firsts)
    above: tuple[str, ...] = ()
    for row, names in zip(table.rows, firsts, strict=True):
        same = _alike(above, names) if grouped else 0
        mark = ' class="first"' if grouped and same < len(names) else ""
        yield f"<tr{mark}>{_cells(table, row, same)}</tr>"
        above = names


def _alike(above: tuple[str, ...], names: tuple[str, ...]) -> int:
    """How many of the first names are those of the row above."""
    pairs = enumerate(zip(above, names, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(above), len(names)))


def _cells(table: Table, row: tuple[str, ...], same: int) -> str:
    return "".join(
        f'<th scope="row" class="{"text same" if column < same else "text"}">{escape(cell)}</th>'
        if column < table.names
        else f"<td{_side(table, column, len(cell) > LONG)}>{escape(cell)}</td>"
        for column, cell in enumerate(row)
    )


def _side(table: Table, column: int, long: bool = False) -> str:
    if not table.is_text(column):
        return ""
    return ' class="text long"' if long else ' class="text"'
