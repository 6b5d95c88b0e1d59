"""`lumbre demo`: start everything, send it a mixed load, write the report, and stop."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.flags import FAILED

PORT = 8080
Seconds = Annotated[float, typer.Option("--seconds", "-s", metavar="S", help="How long.")]
Port = Annotated[
    int,
    typer.Option("--port", min=0, max=65535, help="Where the node listens; 0: any that is free."),
]
Folder = Annotated[
    Path | None,
    typer.Option("--functions", metavar="DIR", help="Serve these instead of the shipped ones."),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the report goes.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the node's page.")]


def demo(
    seconds: Seconds = 120.0,
    port: Port = PORT,
    functions: Folder = None,
    out: Out = Path("results/demo"),
    browser: Browser = True,
) -> None:
    """Show what Lumbre does: start a node, send it two minutes of mixed load, report, and stop.

    Replicas come with each burst and go when it is quiet; functions with two devices are asked for
    the same on both; one function fails on purpose. Where there is no GPU, GPU replicas compute on
    the CPU and are called simulated. Nothing is left running, and only the report is left behind.

    \b
    Examples:
      lumbre demo
      lumbre demo --seconds 30 --no-browser
    """
    from loadtest.demo.browser import open_page
    from loadtest.demo.node import demo_node
    from loadtest.demo.program import PLAN, program
    from loadtest.demo.speedup import pairs, table
    from loadtest.ending import ending_on_sigterm
    from loadtest.live import watching
    from loadtest.report import terminal, write
    from loadtest.runner import run_plan
    from loadtest.written import check
    from runtime.cli import session

    program(seconds, {"wave"})  # refuses what cannot be, before a node is started
    check(out)
    with ending_on_sigterm(), demo_node(functions, port) as node:
        session.note(f"a node is up: {node.url}")
        for name, why in node.broken.items():
            session.note(f"{name} is left out: {why}")
        if node.simulated:
            session.note("no GPU here: GPU replicas compute on the CPU, and are called simulated")
        if browser and not open_page(node.url):
            session.note("no browser here: open that page yourself")
        plan = program(seconds, node.functions)
        with watching(sys.stderr) as watch:
            outcome = run_plan(plan, node.url, folder=PLAN.parent, watch=watch)
    written = write(outcome, out)
    session.show(terminal(outcome))
    if found := pairs(outcome):
        session.show(table(found))
    session.note("written: " + ", ".join(str(path) for path in written))
    session.note("the node has stopped; `lumbre up` starts one that stays")
    if outcome.interrupted:
        raise typer.Exit(FAILED)
