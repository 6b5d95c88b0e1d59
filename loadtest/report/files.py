"""The files of a report: each is written whole or not at all, and the JSON can be read again."""

from collections.abc import Iterator
from pathlib import Path

from loadtest import kept, written
from loadtest.outcome import FORMAT, OUTCOME, Outcome, dumps
from loadtest.report import spreadsheet
from loadtest.report.block import Plot, Report
from loadtest.report.contents import contents
from loadtest.report.markdown import markdown
from loadtest.report.page import page
from loadtest.report.summary import Summary

OUTCOME_FILE = "load_test.json"
GROUPS_FILE = "load_test.csv"
SERIES_FILE = "load_test_series.csv"
MARKDOWN_FILE = "LOAD_TEST_REPORT.md"
PAGE_FILE = "load_test.html"


def write(outcome: Outcome, folder: Path) -> list[Path]:
    """Write every file of the report, and give their paths; what is there is replaced.

    The outcome comes first: whatever happens to the others, they can be made again from it.
    UnwritableReport where the folder cannot be written to.
    """
    return written.write(folder, _files(outcome))


def read(path: Path) -> Outcome:
    """An outcome from a file, or from the one in a folder; UnreadableResults says what is wrong."""
    file = path / OUTCOME_FILE if path.is_dir() else path
    return kept.read(OUTCOME, file, FORMAT, "lumbre loadtest")


def _files(outcome: Outcome) -> Iterator[tuple[str, bytes]]:
    yield OUTCOME_FILE, dumps(outcome)
    summary = Summary(outcome)
    yield GROUPS_FILE, spreadsheet.groups(summary).encode()
    yield SERIES_FILE, spreadsheet.series(summary).encode()
    report = contents(summary)
    yield MARKDOWN_FILE, markdown(report, PAGE_FILE).encode()
    yield PAGE_FILE, page(report, _plots(report, summary), OUTCOME_FILE).encode()


def _plots(report: Report, summary: Summary) -> dict[str, str]:
    # Imported here: matplotlib takes half a second that reading, or a plan that is wrong, need not.
    from loadtest.report.plots import draw

    blocks = [block for section in report.sections for block in section.blocks]
    return {block.name: draw(block.name, summary) for block in blocks if isinstance(block, Plot)}
