"""`lumbre bench`: measure functions on CPU and GPU, and write the report."""

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.flags import FAILED
from runtime.model import DEVICES
from runtime.settings import read_settings

if TYPE_CHECKING:
    from loadtest.suite.options import Options
    from loadtest.suite.results import Results

Only = Annotated[
    list[str] | None,
    typer.Argument(metavar="FUNCTION...", help="Only these.", show_default=False),
]
Quick = Annotated[bool, typer.Option("--quick", help="Few sizes and few calls: about a minute.")]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", metavar="FILE", help="Cases in YAML, instead of the shipped ones."),
]
Folder = Annotated[
    str | None,
    typer.Option("--functions", metavar="DIR", help="Folders of functions, colon-separated."),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="cpu, gpu or both.")]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Of the order of calls; drawn, and told.")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="Of torch, on the CPU; all cores."),
]
Simulate = Annotated[
    bool, typer.Option("--simulate-gpu", help="A GPU that computes on the CPU, labelled.")
]
Ieee = Annotated[bool, typer.Option("--ieee", help="A paper's skeleton in LaTeX as well.")]
Events = Annotated[
    bool, typer.Option("--events", help="Print every step as a line of JSON, for programs.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where it is written.")]


def bench(
    functions: Only = None,
    quick: Quick = False,
    device: Device = "both",
    plan: PlanFile = None,
    folders: Folder = None,
    simulate_gpu: Simulate = False,
    threads: Threads = None,
    seed: Seed = None,
    ieee: Ieee = False,
    events: Events = False,
    out: Out = Path("results"),
) -> None:
    """Measure functions on CPU and GPU over a ladder of sizes, and write the report.

    Needs no node: it forks replicas of its own, and wants a quiet machine. Warm and cold calls and
    transfers are told apart, results of both devices are compared, and rates stand beside what the
    device was seen to do at most. Ctrl-C ends it early, with a report of what ran.

    \b
    Examples:
      lumbre bench --quick
      lumbre bench matmul --device cpu
      lumbre bench --ieee --out results/paper
    """
    from loadtest.suite.options import Options
    from loadtest.suite.plan import BENCH
    from loadtest.suite.report import terminal, write
    from loadtest.written import check
    from runtime.cli import session

    if device not in (*DEVICES, "both"):
        raise typer.BadParameter(f"{device!r} is none: cpu, gpu or both", param_hint="--device")
    check(out)
    results = _measured(
        Options(
            folders=_folders(folders),
            seed=secrets.randbelow(2**31) if seed is None else seed,
            plan=plan or BENCH,
            quick=quick,
            functions=tuple(functions or ()),
            devices=DEVICES if device == "both" else tuple(d for d in DEVICES if d == device),
            simulate_gpu=simulate_gpu,
            threads=threads,
        ),
        events,
    )
    written = write(results, out, ieee=ieee)
    if not events:
        session.show(terminal(results))
    session.note("written: " + ", ".join(str(path) for path in written))
    if not any(cell.samples for cell in results.cells):
        raise typer.Exit(FAILED)


def _measured(options: "Options", events: bool) -> "Results":
    from rich.console import Console

    from loadtest.suite.progress import Lines, Watch
    from loadtest.suite.session import bench as measure

    if events:
        return measure(options, Lines(sys.stdout))
    with Watch(Console(stderr=True)) as watch:
        return measure(options, watch)


def _folders(given: str | None) -> tuple[Path, ...]:
    """Those that are named, else this machine's setting, else where the shipped functions are."""
    from loadtest.shipped import shipped

    named = read_settings({"functions": given}).folders
    if given is None and not any(folder.is_dir() for folder in named):
        return (shipped(),)
    return tuple(folder.resolve() for folder in named)
