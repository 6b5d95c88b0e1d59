"""`lumbre chaos`: break things while invocations are under way, and count what is lost."""

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from runtime.cli.flags import FAILED, Json
from runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from loadtest.chaos.campaign import Campaign, Outcome

Count = Annotated[int, typer.Option("--count", min=1, metavar="N", help="Invocations to ask for.")]
Seed = Annotated[
    int,
    typer.Option("--seed", metavar="N", help="The same seed breaks the same, at the same time."),
]
Workers = Annotated[int, typer.Option("--workers", min=1, metavar="N", help="How many there are.")]
In = Annotated[
    str,
    typer.Option(
        "--layout",
        metavar="LAYOUT",
        help="recorder, inside (gateways record) or embedded (one node, no broker).",
    ),
]
At = Annotated[
    str, typer.Option("--ledger", metavar="LEDGER", help="Where it is: sqlite or postgres.")
]
Target = Annotated[
    str | None,
    typer.Option("--target", metavar="URL", help="Ask this deployment instead, and break nothing."),
]
Remote = Annotated[bool, typer.Option("--allow-remote", help="Let --target be on another machine.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the logs of a run that held, too.")]


def chaos(
    count: Count = 2000,
    seed: Seed = 1,
    workers: Workers = 3,
    layout: In = "recorder",
    ledger: At = "sqlite",
    target: Target = None,
    allow_remote: Remote = False,
    keep: Keep = False,
    json: Json = False,
) -> None:
    """Kill and break a deployment under load, and see that nothing is lost; exit 1 if something is.

    It starts a RabbitMQ, a PostgreSQL and every role by itself, on this machine's loopback; their
    programs must be installed. With --target it only asks a deployment that is there, which must
    have the functions of loadtest/chaos/functions, while you break what you like.

    \b
    Examples:
      lumbre chaos
      lumbre chaos --count 20000 --seed 7 --ledger postgres
      lumbre chaos --layout embedded
      lumbre chaos --target http://localhost:8080
    """
    from loadtest.chaos.campaign import Campaign

    if target:
        _check_target(target, allow_remote)
    campaign = Campaign(seed, count, _shape(layout, ledger, workers))
    outcome = _run(campaign, target, keep)
    _show(outcome, json)
    if not outcome.verdict.holds:
        raise typer.Exit(FAILED)


def _shape(layout: str, ledger: str, workers: int) -> Any:
    from loadtest.chaos.shape import Layout, Shape, Store

    for given, known, flag in ((layout, Layout, "--layout"), (ledger, Store, "--ledger")):
        if given not in set(known):
            raise ConfigurationError(f"{flag} is {given!r}: one of {', '.join(known)}")
    return Shape(Layout(layout), Store(ledger), workers=workers)


def _check_target(url: str, allow_remote: bool) -> None:
    """ConfigurationError where it is another's machine, or lacks the functions."""
    from loadtest.chaos.deployment import FUNCTIONS
    from runtime.cli.client import LOOPBACK, Client

    host = urlsplit(url).hostname
    if host not in LOOPBACK and not allow_remote:
        raise ConfigurationError(f"{host} is not this machine: say --allow-remote if you mean it")
    with Client(url) as node:
        served = {item["name"] for item in node.get("/functions")["items"]}
    if "chaos_quick" not in served:
        source = FUNCTIONS / "chaos.py"
        raise ConfigurationError(f"{url} lacks what is to be run: copy {source} to its functions")


def _run(campaign: "Campaign", target: str | None, keep: bool) -> "Outcome":
    from loadtest.chaos.campaign import visit
    from loadtest.chaos.errors import ChaosError
    from loadtest.chaos.folder import besiege
    from loadtest.ending import ending_on_sigterm
    from loadtest.servers import ServerError
    from runtime.cli import session

    try:
        with ending_on_sigterm():
            if target:
                return visit(campaign, target.rstrip("/"), session.note)
            return besiege(campaign, session.note, keep)
    except (ChaosError, ServerError) as error:
        raise ConfigurationError(f"{error}") from error


def _show(outcome: "Outcome", json: bool) -> None:
    from loadtest.chaos.report import as_json, summary
    from runtime.cli import session

    if json:
        session.print_json(as_json(outcome))
        return
    for problem in outcome.verdict.problems:
        session.note(problem)
    session.show(summary(outcome))
