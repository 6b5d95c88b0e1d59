"""A report as Markdown (GitHub's): for terminals, issues and pull requests; plots are named."""

from collections.abc import Iterator

from loadtest.markdown import bullets, code, paragraph, plain, texts
from loadtest.report.block import Block, Code, Paragraph, Plot, Points, Report, Table, Terms


def markdown(report: Report, page: str) -> str:
    """The report; `page` is the name of the file that has its plots."""
    parts = [f"# {plain(report.title)}"]
    parts += [_paragraph(each) for each in report.lead]
    parts.append(f"Plots are in [{page}]({page}).")
    for section in report.sections:
        parts.append(f"## {plain(section.title)}")
        parts += [text for block in section.blocks for text in _block(block)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            yield _paragraph(block)
        case Points(items):
            yield bullets(map(paragraph, items))
        case Terms(items):
            yield bullets(f"**{plain(name)}**: {plain(text)}" for name, text in items)
        case Code(text, language):
            yield code(text, language)
        case Table(caption, head, rows):
            yield paragraph(caption) + ":"
            yield texts(head, rows, {n for n in range(len(head)) if not block.is_text(n)})
        case Plot():
            return  # its numbers are in the tables


def _paragraph(block: Paragraph) -> str:
    text = paragraph(block.text)
    return f"> **{text}**" if block.tone in ("bad", "warning") else text
