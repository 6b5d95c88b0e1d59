"""The commands of `lumbre` that ask a node: for its functions, and about invocations.

Like those of `runtime.cli`, they import what they need when they run.
"""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from runtime.cli.flags import (
    FAILED,
    Background,
    Function,
    Id,
    Json,
    Output,
    Url,
    Wait,
    check_output,
)

if TYPE_CHECKING:
    from runtime.cli.client import Input

MAX_PAGE = 1000  # items that the API gives at once


def functions(url: Url = None, json: Json = False) -> None:
    """List the functions, how busy they are, and why anything waits.

    \b
    Examples:
      lumbre functions
      lumbre functions --json | jq -r '.items\\[].name'
    """
    from runtime.cli import session, terminal

    with session.asking(url, json) as node:
        page = node.get("/functions")
    if json:
        session.print_json(page)
    elif page["items"]:
        session.show(terminal.functions(page["items"]))
    else:
        session.note("no functions yet: `lumbre new NAME` makes one")


def describe(function: Function, url: Url = None, json: Json = False) -> None:
    """Tell what a function takes and gives, how it scales, and how to call it.

    \b
    Examples:
      lumbre describe matmul
      lumbre describe matmul --json | jq .input_schema
    """
    from runtime.cli import reference, session

    with session.asking(url, json) as node:
        view = node.get(f"/functions/{quote(function, safe='')}")
    if json:
        session.print_json(view)
    else:
        session.show(reference.function_page(view, node.url))
    if view["error"]:
        raise typer.Exit(FAILED)


def invoke(
    function: Function,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Parameters.", show_default=False),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, gpu, or compare for both.")
    ] = "auto",
    background: Background = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show progress, output and yielded values.")
    ] = False,
    wait: Wait = None,
    output: Output = None,
    json: Json = False,
    url: Url = None,
) -> None:
    """Run a function and print its result.

    A value is JSON if it parses as JSON, else a string: n=3 is a number, name=Ann a string, and
    name='"3"' is a string too. KEY=@FILE uploads a file, @FILE takes the whole JSON object from
    one, and - stands for standard input.

    \b
    Examples:
      lumbre invoke matmul n=2048 --device gpu
      lumbre invoke matmul n=2048 --device compare
      lumbre invoke image_filter image=@cat.png filter=sobel -o edges.png
      lumbre invoke image_filter kernel='\\[\\[0,-1,0],\\[-1,5,-1],\\[0,-1,0]]'
      lumbre invoke neural_network @parameters.json --follow
      lumbre invoke matmul n=8192 --async
    """
    from runtime.cli import session
    from runtime.model import new_id

    if background + follow + (wait is not None) > 1:
        raise typer.BadParameter("take one of --async, --follow and --wait", param_hint="--wait")
    given = _input(arguments or [])
    check_output(output)
    if device == "compare":
        if follow or output is not None:
            what = "--follow" if follow else "--output"
            raise typer.BadParameter("compare has two results: leave it out", param_hint=what)
        _compare(function, given, 0 if background else wait, background, url, json)
        return
    id = new_id()
    with session.asking(url, json) as node, session.going_on(id):
        if background:
            session.show_queued(node.record(node.submit(id, function, given, device)), json)
            return
        if follow:
            events = node.invoke_events(id, function, given, device)
            ended = session.show_events(events, function, json)
            if json and output is None:
                raise typer.Exit(0 if ended == "succeeded" else FAILED)
            answer = node.outcome(id, None)
        else:
            answer = node.invoke(id, function, given, device, wait)
    session.show_answer(answer, output, json)


def _compare(
    function: str, given: "Input", wait: int | None, background: bool, url: str | None, json: bool
) -> None:
    """Run a function on both devices and show how they compare."""
    import orjson

    from runtime.cli import comparing, session
    from runtime.model import new_id

    with session.asking(url, json) as node:
        answer = node.compare(new_id(), function, given, wait)
    view = orjson.loads(answer.body)
    if json:
        session.print_json(view)
    elif answer.finished:
        session.show(comparing.comparison(view))
    else:
        typer.echo(comparing.accepted(view))
        session.note("queued on both: `lumbre result ID --wait 60` waits for the outcome of one")
    if not answer.finished and not background:
        raise typer.Exit(session.UNFINISHED)
    if answer.finished and not comparing.succeeded(view):
        raise typer.Exit(FAILED)


# ── invocations ───────────────────────────────────────────────────────────────────────────────


def result(
    id: Id, wait: Wait = 0, output: Output = None, json: Json = False, url: Url = None
) -> None:
    """Print the result of an invocation; exit 3 if it is not finished.

    \b
    Examples:
      lumbre result ID
      lumbre result ID --wait 60 -o product.npy
    """
    from runtime.cli import session

    check_output(output)
    with session.asking(url, json) as node, session.going_on(id):
        answer = node.outcome(id, wait)
    session.show_answer(answer, output, json)


def invocations(
    function: Annotated[str | None, typer.Option(help="Of this function only.")] = None,
    status: Annotated[
        str | None,
        typer.Option(help="queued, running, succeeded, failed, timed_out, cancelled or dead."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or gpu.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Accepted since: 30s, 10m, 2h, 7d, or 2026-11-23T12:00:00Z.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at once.")] = 20,
    every: Annotated[bool, typer.Option("--all", help="All of them, page after page.")] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """List invocations, newest first.

    \b
    Examples:
      lumbre invocations
      lumbre invocations --function matmul --status failed --since 2h
      lumbre invocations --all --json > invocations.json
    """
    from runtime.cli import session, terminal

    query = {
        "function": function,
        "status": status,
        "device": device,
        "since": _since(since, datetime.now(UTC)),
        "limit": MAX_PAGE if every else limit,
    }
    with session.asking(url, json) as node:
        pages = node.pages("/invocations", **query)
        page = next(pages)
        if every:
            items = [item for one in (page, *pages) for item in one["items"]]
            page = {"items": items, "next": None}
    if json:
        session.print_json(page)
        return
    session.show(terminal.invocations(page["items"]))
    if page["next"]:
        session.note("there are more: --all lists them, --limit N more at once")
    elif not page["items"]:
        session.note("no invocations")


def show(id: Id, url: Url = None, json: Json = False) -> None:
    """Show all there is to say of one invocation: status, times, input, error, attempts.

    \b
    Examples:
      lumbre show ID
    """
    from runtime.cli import session, terminal

    with session.asking(url, json) as node:
        view = node.record(id)
    if json:
        session.print_json(view)
    else:
        session.show(terminal.invocation(view))


def logs(
    id: Id,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the invocation is over.")
    ] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Print what an invocation wrote to standard output and error.

    \b
    Examples:
      lumbre logs ID
      lumbre logs ID --follow
    """
    from runtime.cli import session

    with session.asking(url, json) as node, session.going_on(id):
        if follow:
            session.follow_logs(node, id, json)
        elif json:
            session.print_json({"id": id, "text": node.logs(id)})
        else:
            typer.echo(node.logs(id), nl=False)


def cancel(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids of invocations or batches.")
    ],
    url: Url = None,
    json: Json = False,
) -> None:
    """Stop invocations or whole batches: queued ones never run, running ones end within a second.

    \b
    Examples:
      lumbre cancel ID
      lumbre invocations --status queued --all --json | jq -r '.items\\[].id' | xargs lumbre cancel
    """
    from runtime.cli import session
    from runtime.cli.client import Refused

    refused = False
    with session.asking(url, json) as node:
        for id in ids:
            try:
                view = node.cancel(id)
            except Refused as error:
                session.show_problem(error, json)
                refused = True
                continue
            if json:
                session.print_json(view)
            else:
                typer.echo(f"{id} {view.get('status') or view['state']}")
    if refused:
        raise typer.Exit(FAILED)


def replay(
    id: Id,
    background: Background = False,
    wait: Wait = None,
    output: Output = None,
    json: Json = False,
    url: Url = None,
) -> None:
    """Run an invocation again with the same input, as a new one.

    \b
    Examples:
      lumbre replay ID
      lumbre replay ID --async
    """
    from runtime.cli import session

    check_output(output)
    with session.asking(url, json) as node:
        new = node.replay(id)
        if background:
            session.show_queued(node.record(new), json)
            return
        with session.going_on(new):
            answer = node.outcome(new, wait)
    session.show_answer(answer, output, json)


# ── what is given ─────────────────────────────────────────────────────────────────────────────


def _input(arguments: list[str]) -> "Input":
    from runtime.cli.client import read_input

    try:
        return read_input(arguments, sys.stdin.buffer)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="KEY=VALUE") from None


def _since(text: str | None, now: datetime) -> str | None:
    """An instant from one, or from how long ago it was."""
    if text is None or not (ago := re.fullmatch(r"(\d+)\s*([smhd])", text)):
        return text
    seconds = int(ago[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2]]
    return (now - timedelta(seconds=seconds)).isoformat()
