"""The files of a report, each written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

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
    needed, and ConfigurationError says so when all else is written.
    """
    summary = summarize(results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [put(folder / JOB_RESULTS, dumps(results))]
        written.append(put(folder / SHEET, spreadsheet.sheet(summary).encode()))
        picture = _drawing()
        if picture:
            written.append(put(folder / PICTURE, picture(summary)))
        text = page(summary, picture=picture is not None)
        written.append(put(folder / REPORT, text.encode()))
        if ieee:
            written += _paper(summary, folder / PAPER)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or folder} cannot be written ({error.strerror}):"
            " name another folder for the report"
        ) from error
    return written


def put(path: Path, content: bytes) -> Path:
    """Write a file so that whoever reads it finds the old one or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _drawing() -> Callable[[Summary], bytes] | None:
    # Imported here: matplotlib takes half a second that no other command should wait.
    try:
        from loadtest.suite.report.chart import picture
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return None
    return picture


def _paper(summary: Summary, folder: Path) -> list[Path]:
    if _drawing() is None:
        raise ConfigurationError(f"no figures for the paper: {NO_MATPLOTLIB}")
    from loadtest.suite.report import ieee

    folder.mkdir(exist_ok=True)
    return [put(folder / name, content) for name, content in ieee.paper(summary).items()]
