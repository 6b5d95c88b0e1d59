"""`lumbre loadtest`: send load to a node, and report how it took it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.flags import FAILED, Json, Url

if TYPE_CHECKING:
    from loadtest.outcome import Outcome
    from loadtest.plan import Plan

RESULTS = Path("results")

Target = Annotated[
    str | None,
    typer.Argument(metavar="FUNCTION", help="What to invoke, without a plan.", show_default=False),
]
Given = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Its parameters.", show_default=False),
]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", metavar="FILE", help="A plan in YAML: what to send, and when."),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="R", help="Invocations a second, whatever becomes of them."),
]
Connections = Annotated[
    int | None,
    typer.Option(
        "--connections",
        "-c",
        metavar="N",
        help="Callers, each waiting for its answer before it sends again; with --rate, at most.",
    ),
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", "-s", metavar="S", help="How long.  [default: 10]")
]
Device = Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="auto, cpu, gpu.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="The same seed sends the same, at the same times."),
]
Slo = Annotated[
    str | None,
    typer.Option("--slo", metavar="GOALS", help="Exit 1 unless met: p99=200ms,errors=0.1%"),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the reports go.")]
Remote = Annotated[bool, typer.Option("--allow-remote", help="Let --url be on another machine.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def loadtest(
    function: Target = None,
    arguments: Given = None,
    plan: PlanFile = None,
    rate: Rate = None,
    connections: Connections = None,
    seconds: Seconds = None,
    device: Device = None,
    slo: Slo = None,
    seed: Seed = None,
    out: Out = RESULTS,
    url: Url = None,
    allow_remote: Remote = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Send load to a node; report its latency, throughput, faults, backlog and replicas.

    A plan says what to send and when; loadtest/plans has some. Without one, name a function and
    give --rate or --connections. Latency counts from when a request was meant to be sent, so a
    server that stalls cannot hide it. Ctrl-C ends it early, with a report of what ran.

    \b
    Examples:
      lumbre loadtest --plan loadtest/plans/mixed.yaml
      lumbre loadtest matmul n=256 --rate 50 --seconds 30
      lumbre loadtest matmul n=256 -c 16 --slo p99=200ms,errors=0.1%
    """
    from loadtest.live import watching
    from loadtest.report import terminal, write
    from loadtest.runner import run_plan
    from loadtest.written import check
    from runtime.cli import session
    from runtime.settings import api_key

    if (plan is None) == (function is None):
        raise typer.BadParameter("give --plan FILE or a FUNCTION, one of the two")
    if plan is not None:
        _no_other(rate=rate, connections=connections, seconds=seconds, device=device)
        chosen, folder = _from_file(plan), plan.parent
    else:
        chosen = _simple(function or "", arguments, device, rate, connections, seconds)
        folder = Path()
    chosen = _changed(chosen, slo=slo, seed=seed)
    check(out)
    with watching(sys.stderr, quiet) as watch:
        outcome = run_plan(
            chosen,
            url or session.node_url(),
            folder=folder,
            watch=watch,
            allow_remote=allow_remote,
            key=api_key(),
        )
    written = write(outcome, out)
    if json:
        session.print_json(_verdict(outcome, written))
    else:
        session.show(terminal(outcome))
        session.note("written: " + ", ".join(str(path) for path in written))
    if not _good(outcome):
        raise typer.Exit(FAILED)


def _from_file(file: Path) -> "Plan":
    from loadtest.plan import read_plan

    return read_plan(file)


def _simple(
    function: str,
    arguments: list[str] | None,
    device: str | None,
    rate: float | None,
    connections: int | None,
    seconds: float | None,
) -> "Plan":
    from loadtest.plan import simple
    from runtime.cli.client import read_input

    try:
        given = read_input(arguments or [], sys.stdin.buffer)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="KEY=VALUE") from None
    if given.files:
        name = min(given.files)
        raise typer.BadParameter(
            f"{name} is a file: write a plan with `body` or `file` in its mix", param_hint=name
        )
    return simple(
        function,
        device=device,
        parameters=given.parameters,
        rate=rate,
        connections=connections,
        seconds=10.0 if seconds is None else seconds,
    )


def _no_other(**flags: Any) -> None:
    for name, value in flags.items():
        if value is not None:
            raise typer.BadParameter("is what the plan says: leave it out", param_hint=f"--{name}")


def _changed(plan: "Plan", **given: Any) -> "Plan":
    """The plan with what was given on the command line, checked as if it were written in it."""
    from loadtest.document import check
    from loadtest.plan import Plan

    changes = {name: value for name, value in given.items() if value is not None}
    return check(Plan, plan.filled() | changes, "load test") if changes else plan


def _good(outcome: "Outcome") -> bool:
    """Whether it ran to its end, something was answered as it should be, and the SLO was met."""
    answered = any(group.status in ("succeeded", "accepted") for group in outcome.groups)
    met = all(goal.met for goal in outcome.objectives)
    return answered and met and not outcome.interrupted


def _verdict(outcome: "Outcome", written: list[Path]) -> dict[str, Any]:
    return {
        "interrupted": outcome.interrupted,
        "objectives": outcome.objectives,
        "generator": outcome.generator,
        "throttled": outcome.throttled,
        "unanswered": outcome.unanswered,
        "reports": [str(path) for path in written],
    }
