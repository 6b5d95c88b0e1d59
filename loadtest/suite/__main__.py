"""`python -m loadtest.suite`: measure functions on CPU and GPU, and write what came of it.

`lumbre bench` is the same with the options of Lumbre's command line.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from loadtest import written
from loadtest.shipped import shipped
from loadtest.suite.options import Options
from loadtest.suite.plan import BENCH
from loadtest.suite.progress import Lines, Watch
from loadtest.suite.results import JOB_RESULTS, Results, dumps
from loadtest.suite.session import bench
from runtime.errors import LumbreError
from runtime.model import DEVICES

NOTHING = 1  # exit status: no cell has a sample
WRONG = 2  # exit status: it could not begin, or its report could not be written
STOPPED = 130  # exit status, as a shell gives it: a second Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite; 0 unless nothing could be measured."""
    given = _parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        written.check(given.out)
        results = _measured(options(given), console, events=given.events)
    except LumbreError as error:
        return _wrong(error, console)
    except KeyboardInterrupt:
        console.print("stopped at once: nothing was written", markup=False, highlight=False)
        return STOPPED
    try:
        files = write(results, given.out, ieee=given.ieee, console=console)
    except LumbreError as error:
        return _wrong(error, console)
    if not given.events and len(files) > 1:
        from loadtest.suite.report import terminal

        Console().print(terminal(results))
    for file in files:
        console.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)
    return 0 if any(cell.samples for cell in results.cells) else NOTHING


def options(given: argparse.Namespace) -> Options:
    """What the arguments ask for; without a seed, a new one is drawn, and told in the results."""
    return Options(
        folders=folders(given.functions),
        seed=secrets.randbelow(2**31) if given.seed is None else given.seed,
        plan=given.plan,
        quick=given.quick,
        functions=tuple(given.function),
        devices=DEVICES if given.device == "both" else (given.device,),
        simulate_gpu=given.simulate_gpu,
        threads=given.threads,
    )


def folders(named: str | None) -> tuple[Path, ...]:
    """Those that are named, else `functions` here, else the shipped ones."""
    if named is None and not Path("functions").is_dir():
        return (shipped(),)
    parts = (named or "functions").split(":")
    return tuple(Path(part).expanduser().resolve() for part in parts if part)


def write(results: Results, folder: Path, *, ieee: bool, console: Console) -> list[Path]:
    """The raw results first, since all else can be made again from them; then the reports."""
    (raw,) = written.write(folder, [(JOB_RESULTS, dumps(results))])
    try:
        from loadtest.suite.report import write as write_reports
    except ImportError as error:
        console.print(
            f"no reports: {error}; `lumbre report` makes them from {raw} where that is installed",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return [raw]
    return list(dict.fromkeys([raw, *write_reports(results, folder, ieee=ieee)]))


def _wrong(error: LumbreError, console: Console) -> int:
    console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
    return WRONG


def _measured(options: Options, console: Console, *, events: bool) -> Results:
    if events:
        return bench(options, Lines(sys.stdout))
    with Watch(console) as watch:
        return bench(options, watch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.suite",
        description="Measure functions on CPU and GPU: warm and cold calls, transfers, ceilings,"
        " parity. Writes job_results.json and the reports made from it.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="few sizes and few calls")
    add("--plan", type=Path, default=BENCH, help="cases in YAML (default: the one that is shipped)")
    add("--functions", metavar="FOLDERS", help="of function files, colon-separated (functions)")
    add("--function", action="append", default=[], metavar="NAME", help="only this; repeatable")
    add("--device", choices=("cpu", "gpu", "both"), default="both")
    add("--seed", type=int, help="of the order of the calls (default: drawn, and told)")
    add("--threads", type=int, help="torch's on the CPU (default: all cores)")
    add("--out", type=Path, default=Path("results"), help="the folder that is written to")
    add("--ieee", action="store_true", help="also a paper's skeleton in LaTeX")
    add("--simulate-gpu", action="store_true", help="a GPU that computes on the CPU, labelled")
    add("--events", action="store_true", help="every step as a line of JSON on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
