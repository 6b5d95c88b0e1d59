"""The commands of `lumbre` about dead letters: list them, replay them, throw them away.

Ids go to standard output, and what is said about them to standard error.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.flags import FAILED, Function, Json, Url

if TYPE_CHECKING:
    from runtime.cli.client import Client

All = Annotated[bool, typer.Option("--all", help="All of the function's, the oldest first.")]


def letters(
    function: Annotated[
        str | None,
        typer.Argument(metavar="FUNCTION", help="Of this one only.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at once.")] = 20,
    url: Url = None,
    json: Json = False,
) -> None:
    """List dead letters, the oldest first: invocations that were given up on, and why.

    \b
    Examples:
      lumbre letters
      lumbre letters matmul --limit 100 --json | jq '.items\\[].attempts'
    """
    from runtime.cli import session, terminal

    with session.asking(url, json) as node:
        page = node.get("/dead-letters", function=function, limit=limit)
    if json:
        session.print_json(page)
        return
    if not page["items"]:
        session.note("no dead letters")
        return
    session.show(terminal.letters(page["items"]))
    if len(page["items"]) == limit:
        session.note("there may be more: --limit N lists more at once")


def replay_letters(
    function: Function,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID... KEY=VALUE", help="Letters, and parameters.", show_default=False
        ),
    ] = None,
    every: All = False,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu or gpu; else as it was.")
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Run dead letters of a function again, as new invocations, and print their ids.

    KEY=VALUE and @FILE, as lumbre invoke takes them, change parameters; the others stay. Asked
    again for the same, it gives the same invocation. Exit 1 if any letter stays.

    \b
    Examples:
      lumbre replay-letters matmul ID
      lumbre replay-letters matmul ID n=512 --device cpu
      lumbre replay-letters matmul --all
    """
    from runtime.cli import session

    ids, edits = _ids_and_edits(arguments or [])
    order = _order(function, ids, every)
    if every and edits:
        raise typer.BadParameter("KEY=VALUE is for letters that are named", param_hint="--all")
    with session.asking(url, json) as node:
        if edits:
            kept = _replay_edited(node, function, ids, edits, device, json)
        else:
            kept = _clear(node, "replay", order, device, json)
    if kept:
        raise typer.Exit(FAILED)


def discard_letters(
    function: Function,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Letters.", show_default=False)
    ] = None,
    every: All = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Throw dead letters of a function away; their invocations stay dead. Exit 1 if any stays.

    \b
    Examples:
      lumbre discard-letters matmul ID
      lumbre discard-letters matmul --all
    """
    from runtime.cli import session

    order = _order(function, ids or [], every)
    with session.asking(url, json) as node:
        if _clear(node, "discard", order, None, json):
            raise typer.Exit(FAILED)


def _order(function: str, ids: Sequence[str], every: bool) -> dict[str, Any]:
    if every == bool(ids):
        raise typer.BadParameter("name letters by their ids, or take --all", param_hint="ID")
    return {"function": function} | ({"all": True} if every else {"ids": list(ids)})


def _ids_and_edits(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The letters that are named, and the parameters that are given."""
    from runtime.cli.client import read_input

    edits = [argument for argument in arguments if "=" in argument or argument.startswith("@")]
    try:
        given = read_input(edits, sys.stdin.buffer)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="KEY=VALUE") from None
    if given.files:
        text = f"{min(given.files)} is uploaded: it stays as it was, so run it anew instead"
        raise typer.BadParameter(text, param_hint="KEY=@FILE")
    return [argument for argument in arguments if argument not in edits], given.parameters


def _replay_edited(
    node: "Client",
    function: str,
    ids: Sequence[str],
    edits: dict[str, Any],
    device: str | None,
    json: bool,
) -> bool:
    """Replay letters with some parameters changed; whether any stays."""
    from runtime.cli import session
    from runtime.cli.client import Refused

    kept = False
    for id in ids:
        try:
            given = node.record(id)["input"]["parameters"]
            if given is None:
                session.note(f"{id} stays: its parameters are too large to change one of them")
                kept = True
                continue
            new = node.replay_letter(id, function, given | edits, device)
        except Refused as error:
            session.show_problem(error, json)
            kept = True
            continue
        _show({"id": id, "error": None, "replayed_as": new}, json)
    return kept


def _clear(
    node: "Client", what: str, order: dict[str, Any], device: str | None, json: bool
) -> bool:
    """Replay or discard many, and tell of each; whether any stays."""
    from runtime.cli import session

    kept = False
    for told in node.clear_letters(what, order, device):
        if "id" in told:
            _show(told, json)
            continue
        kept = bool(told["kept"] or told["stopped"])
        if json:
            session.print_json(told)
            continue
        stay = f", {told['kept']:,} stay" if told["kept"] else ""
        session.note(f"{told[f'{what}ed']:,} {what}ed{stay}")
        if told["stopped"]:
            session.note(f"stopped: {told['stopped']}")
    return kept


def _show(told: dict[str, Any], json: bool) -> None:
    from runtime.cli import session

    if json:
        session.print_json(told)
    elif told["error"]:
        session.note(f"{told['id']} stays: {told['error']}")
    else:
        typer.echo(told.get("replayed_as") or told["id"])
