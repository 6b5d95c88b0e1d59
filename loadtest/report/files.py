"""The files of a report: each is written whole or not at all, and the JSON can be read again."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
from pydantic import ValidationError

from loadtest.outcome import FORMAT, OUTCOME, Outcome, dumps
from loadtest.report import spreadsheet
from loadtest.report.block import Plot, Report
from loadtest.report.contents import contents
from loadtest.report.markdown import markdown
from loadtest.report.page import page
from loadtest.report.plots import draw
from loadtest.report.summary import Summary
from runtime.errors import LumbreError

OUTCOME_FILE = "load_test.json"
GROUPS_FILE = "load_test.csv"
SERIES_FILE = "load_test_series.csv"
MARKDOWN_FILE = "LOAD_TEST_REPORT.md"
PAGE_FILE = "load_test.html"


class UnreadableOutcome(LumbreError):
    """A file that is no outcome of a load test, or of a format that this version cannot read."""

    title = "Unreadable outcome"


class UnwritableReport(LumbreError):
    """A folder that the report cannot be written to."""

    title = "Unwritable report"


def write(outcome: Outcome, folder: Path) -> list[Path]:
    """Write every file of the report, and give their paths; what is there is replaced.

    The outcome comes first: whatever happens to the others, they can be made again from it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_put(folder / name, data) for name, data in _files(outcome)]
    except OSError as error:
        raise UnwritableReport(
            f"{folder}: the report cannot be written there ({error.strerror or error}): name a"
            " folder that you may write to"
        ) from error


def read(path: Path) -> Outcome:
    """An outcome from a file, or from the one in a folder; UnreadableOutcome says what is wrong."""
    file = path / OUTCOME_FILE if path.is_dir() else path
    try:
        raw = orjson.loads(file.read_bytes())
    except OSError as error:
        raise UnreadableOutcome(
            f"{file} cannot be read ({error.strerror or error}): `lumbre loadtest` writes one"
        ) from error
    except orjson.JSONDecodeError as error:
        raise UnreadableOutcome(f"{file} is no JSON ({error}): give what a run wrote") from error
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise UnreadableOutcome(
            f"{file} has format {found!r}, and this version reads {FORMAT}: run `lumbre loadtest`"
        )
    try:
        return OUTCOME.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(str(part) for part in first["loc"])
        raise UnreadableOutcome(f"{file}: {where}: {first['msg']}: was it edited?") from error


def _files(outcome: Outcome) -> Iterator[tuple[str, bytes]]:
    yield OUTCOME_FILE, dumps(outcome)
    summary = Summary(outcome)
    yield GROUPS_FILE, spreadsheet.groups(summary).encode()
    yield SERIES_FILE, spreadsheet.series(summary).encode()
    report = contents(summary)
    yield MARKDOWN_FILE, markdown(report, PAGE_FILE).encode()
    yield PAGE_FILE, page(report, _plots(report, summary), OUTCOME_FILE).encode()


def _plots(report: Report, summary: Summary) -> dict[str, str]:
    blocks = [block for section in report.sections for block in section.blocks]
    return {block.name: draw(block.name, summary) for block in blocks if isinstance(block, Plot)}


def _put(path: Path, data: bytes) -> Path:
    """Write a file beside its place, then move it there: a reader sees the old or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)  # mkstemp's 0600 would hide the report from whoever it is for
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path
