"""The files of a report, each written whole or not at all."""

from collections.abc import Callable, Iterator
from pathlib import Path

from loadtest import written
from loadtest.suite.report import spreadsheet
from loadtest.suite.report.markdown import PICTURE, SHEET, page
from loadtest.suite.results import JOB_RESULTS, Results, dumps
from loadtest.suite.summary import Summary, summarize
from runtime.errors import ConfigurationError

REPORT = "BENCHMARK_REPORT.md"
PAPER = "ieee"  # the folder of the LaTeX paper
NO_MATPLOTLIB = "matplotlib is not installed: `pip install 'lumbre[loadtest]'`"


def write(results: Results, folder: Path, *, ieee: bool = False) -> list[Path]:
    """Write JSON, CSV, PNG and Markdown into a folder, and the paper with `ieee`: what is written.

    The JSON comes first, so that nothing measured is lost whatever goes wrong after it.  Without
    matplotlib there is no picture, and the report does without; for the paper's figures it is
    needed, and ConfigurationError says so when all else is written.  UnwritableReport where the
    folder cannot be written to.
    """
    return written.write(folder, _files(results, ieee=ieee))


def _files(results: Results, *, ieee: bool) -> Iterator[tuple[str, bytes]]:
    yield JOB_RESULTS, dumps(results)
    summary = summarize(results)
    yield SHEET, spreadsheet.sheet(summary).encode()
    picture = _drawing()
    if picture:
        yield PICTURE, picture(summary)
    yield REPORT, page(summary, picture=picture is not None).encode()
    if ieee:
        yield from _paper(summary)


def _drawing() -> Callable[[Summary], bytes] | None:
    # Imported here: matplotlib takes half a second that no other command should wait.
    try:
        from loadtest.suite.report.chart import picture
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None
    return picture


def _paper(summary: Summary) -> Iterator[tuple[str, bytes]]:
    if _drawing() is None:
        raise ConfigurationError(f"no figures for the paper: {NO_MATPLOTLIB}")
    from loadtest.suite.report import ieee

    for name, content in ieee.paper(summary).items():
        yield f"{PAPER}/{name}", content
