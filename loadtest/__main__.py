"""`python -m loadtest`: the load test without the rest of Lumbre's commands."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from loadtest.document import check
from loadtest.live import watching
from loadtest.plan import Plan, read_plan, simple
from loadtest.runner import run_plan
from runtime.errors import ConfigurationError

URL = "http://127.0.0.1:8080"


def main(line: Sequence[str] | None = None) -> int:
    """Run a load test: 0 where it ran to its end, got answers and met its SLO, 1 where not, 2 where
    it cannot be run as asked."""
    parser = _parser()
    given = parser.parse_args(line)
    if (given.plan is None) == (given.function is None):
        parser.error("say what to send: either --plan FILE or --function NAME")
    told = Console(stderr=True, highlight=False, markup=False)
    try:
        plan = _plan(given)
        folder = given.plan.parent if given.plan else Path()
        with watching(sys.stderr, given.quiet) as watch:
            outcome = run_plan(
                plan, given.url, folder=folder, watch=watch, allow_remote=given.allow_remote
            )
    except ConfigurationError as error:
        told.print(str(error), style="red")
        return 2
    from loadtest.report import terminal, write  # matplotlib, which nothing needs before

    Console(highlight=False, markup=False).print(terminal(outcome))
    for path in write(outcome, given.out) if given.out else ():
        told.print(f"written: {path}")
    answered = any(group.status in ("succeeded", "accepted") for group in outcome.groups)
    met = all(goal.met for goal in outcome.objectives)
    return 0 if answered and met and not outcome.interrupted else 1


def _plan(given: argparse.Namespace) -> Plan:
    if given.plan is not None:
        plan = read_plan(given.plan)
    else:
        plan = simple(
            given.function,
            device=given.device,
            rate=given.rate,
            connections=given.connections,
            seconds=given.seconds,
            seed=given.seed,
        )
    if given.slo is None:
        return plan
    return check(Plan, plan.filled() | {"slo": given.slo}, "load test")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m loadtest", description=__doc__)
    parser.add_argument("--plan", type=Path, help="a plan in YAML")
    parser.add_argument("--function", help="or one function, with its default parameters")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--rate", type=float, help="requests a second, whatever the answers do")
    parser.add_argument("--connections", type=int, help="that send as fast as they are answered")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", default=URL, help=f"of the node (default {URL})")
    parser.add_argument("--slo", help="such as p99=200ms,errors=0.1%%; sets the exit status")
    parser.add_argument("--out", type=Path, help="a folder for the reports")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--allow-remote", action="store_true", help="send to another machine")
    return parser


if __name__ == "__main__":
    sys.exit(main())
