"""`lumbre report`: make reports again from what a run has kept, and compare two runs."""

from pathlib import Path
from typing import Annotated

import typer

COMPARE = "compare"
COMPARISON = "BENCHMARK_COMPARISON.md"

What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FOLDER | compare BEFORE AFTER]",
        help="Where a run was written, or two of them.  [default: results]",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Where to write; where it was read, if not."),
]
Ieee = Annotated[bool, typer.Option("--ieee", help="A paper's skeleton in LaTeX as well.")]


def report(what: What = None, out: Out = None, ieee: Ieee = False) -> None:
    """Make every report again from the raw JSON of a run, or tell what changed between two runs.

    A folder may hold a run of lumbre bench (job_results.json), a load test (load_test.json), or
    both. Comparing tells of lumbre bench what changed beyond noise, and what cannot be told.

    \b
    Examples:
      lumbre report
      lumbre report results --ieee
      lumbre report compare results/before results/after
    """
    given = what or ["results"]
    if given[0] == COMPARE:
        if len(given) != 3:
            raise typer.BadParameter("give two runs: compare BEFORE AFTER", param_hint=COMPARE)
        _compare(Path(given[1]), Path(given[2]), out)
    elif len(given) == 1:
        _rebuild(Path(given[0]), out, ieee)
    else:
        raise typer.BadParameter("give one folder, or compare BEFORE AFTER", param_hint="FOLDER")


def _rebuild(source: Path, out: Path | None, ieee: bool) -> None:
    from loadtest import report
    from loadtest.report.files import OUTCOME_FILE
    from loadtest.suite import report as suite
    from loadtest.suite.results import JOB_RESULTS, read
    from runtime.cli import session

    folder = source if source.is_dir() else source.parent
    where = out or folder
    kept = {source.name} if source.is_file() else {file.name for file in folder.glob("*.json")}
    written: list[Path] = []
    if OUTCOME_FILE in kept:
        outcome = report.read(folder)
        written += report.write(outcome, where)
        session.show(report.terminal(outcome))
    if JOB_RESULTS in kept or not written:  # where there is neither, reading says what is missing
        results = read(source)
        written += suite.write(results, where, ieee=ieee)
        session.show(suite.terminal(results))
    session.note("written: " + ", ".join(str(path) for path in written))


def _compare(before: Path, after: Path, out: Path | None) -> None:
    from loadtest import written
    from loadtest.suite.difference import compare
    from loadtest.suite.results import read
    from runtime.cli import session

    difference = compare(read(before), read(after))
    session.show(difference.table())
    if out is not None:
        (page,) = written.write(out, [(COMPARISON, difference.markdown().encode())])
        session.note(f"written: {page}")
