"""`lumbre keys`: make API keys, list them, revoke them.

They are in the ledger, which these commands open themselves: a node need not run, and a SQLite
ledger may be written beside one that does.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from runtime.cli.flags import FAILED, Json, help_of
from runtime.scopes import Scope, in_order
from runtime.settings import read_settings

if TYPE_CHECKING:
    from runtime.keys import Key, Keys

T = TypeVar("T")

UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}  # seconds
SECONDS_TO_STOP = 5  # that a running gateway may still take a key for which was revoked

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="The state folder, as in the settings."),
]
LedgerUrl = Annotated[
    str | None, typer.Option("--ledger-url", metavar="URL", help="The ledger, as in the settings.")
]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Who or what will use it.", show_default=False)
]
Scopes = Annotated[
    list[Scope] | None,
    typer.Option("--scope", metavar="SCOPE", help="invoke, read or admin; may be repeated."),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", help="Invocations a second; any number if not said."),
]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="When it ends: 12h, 30d; or never.")
]
KeyId = Annotated[
    str, typer.Argument(metavar="ID", help="A key's id, of 8 characters.", show_default=False)
]


def keys() -> None:
    """Make, list and revoke API keys. Once there is one, every call needs one.

    They are in the ledger that the settings name, and a running node looks at them every 2
    seconds.

    \b
    Examples:
      lumbre keys create laptop --scope invoke --scope read
      lumbre keys create ci --scope invoke --rate 10 --expires 30d
      lumbre keys list
      lumbre keys revoke 3kq7wz2a
    """


def create(
    name: Name,
    scope: Scopes = None,
    rate: Rate = None,
    expires: Expires = None,
    state: State = None,
    ledger_url: LedgerUrl = None,
    json: Json = False,
) -> None:
    """Make a key and print it, this once.

    invoke: run, stop and read invocations of one's own. read: GET of everything, and the console.
    admin: everything, dead letters and repairs too.

    \b
    Examples:
      lumbre keys create laptop --scope invoke --scope read
      export LUMBRE_API_KEY=$(lumbre keys create ci --scope invoke --expires 30d)
    """
    from runtime.cli import session
    from runtime.keys import new_key

    if not scope:
        raise typer.BadParameter(f"say what it is for: {', '.join(Scope)}", param_hint="--scope")
    now = time.time()
    until = None if expires is None else now + _seconds(expires)
    key, text = new_key(name, scope, now, rate=rate, expires_at=until)
    _with_keys(lambda kept: kept.add(key), state, ledger_url)
    if json:
        session.print_json({**_view(key), "key": text})
        return
    typer.echo(text)
    session.note(
        f"this is the key {name!r}, with the id {key.id}; it is shown this once. Use it like\n"
        "  export LUMBRE_API_KEY=KEY; lumbre functions\n"
        '  curl -H "Authorization: Bearer $LUMBRE_API_KEY" http://127.0.0.1:8080/functions\n'
        "or sign in to the console with it. A running node takes it within 2 seconds, and asks"
        " everybody for a key from then on."
    )


def list_keys(state: State = None, ledger_url: LedgerUrl = None, json: Json = False) -> None:
    """List the keys there are and were; the keys themselves are nowhere.

    \b
    Examples:
      lumbre keys list
      lumbre keys list --json
    """
    from runtime.cli import session, terminal

    found = _with_keys(lambda kept: kept.all(), state, ledger_url)
    if json:
        session.print_json([_view(key) for key in found])
    elif not found:
        session.note("no keys: `lumbre keys create NAME --scope invoke --scope read` makes one")
    else:
        session.show(terminal.keys(map(_view, found)))


def revoke(
    id: KeyId, state: State = None, ledger_url: LedgerUrl = None, json: Json = False
) -> None:
    """Revoke a key for good: running nodes refuse it within 5 seconds, and its sessions end.

    \b
    Examples:
      lumbre keys revoke 3kq7wz2a
    """
    from runtime.cli import session

    async def work(kept: "Keys") -> "tuple[Key | None, list[Key]]":
        return await kept.revoke(id, time.time()), await kept.held()

    key, left = _with_keys(work, state, ledger_url)
    if key is None:
        session.note(f"there is no key {id!r}: `lumbre keys list` has their ids")
        raise typer.Exit(FAILED)
    if json:
        session.print_json(_view(key))
        return
    session.note(f"revoked {key.name!r}: nodes refuse it within {SECONDS_TO_STOP} seconds")
    if not left:
        session.note(
            "it was the last one: with LUMBRE_KEYS=auto, a node on 127.0.0.1 asks for no key now;"
            " one on another address goes on asking until it is stopped"
        )


def _with_keys(
    work: "Callable[[Keys], Awaitable[T]]", state: Path | None, ledger_url: str | None
) -> T:
    """Do something with the keys of the ledger that the settings and these flags name."""
    from runtime.ledger import Ledger

    settings = read_settings({"state": state, "ledger_url": ledger_url})

    async def run() -> T:
        ledger = await Ledger.open(settings.ledger)
        try:
            return await work(ledger.keys)
        finally:
            await ledger.close()

    return asyncio.run(run())


def _seconds(text: str) -> float:
    """Seconds of a length of time such as 30d."""
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    if not found or not int(found[1]):
        raise typer.BadParameter(
            f"{text!r} is no length of time: write 90m, 12h, 30d or 4w", param_hint="--expires"
        )
    return float(int(found[1]) * UNITS[found[2]])


def _view(key: "Key") -> dict[str, Any]:
    """What may be told of a key, instants as the API tells them."""
    from runtime.views import instant

    view = {name: value for name, value in asdict(key).items() if not name.endswith("hash")}
    told = {name: instant(value) for name, value in view.items() if name.endswith("_at")}
    return view | told | {"scopes": in_order(key.scopes), "state": key.state(time.time())}


app = typer.Typer(help=help_of(keys), no_args_is_help=True, rich_markup_mode="rich")
for verb, command in (("create", create), ("list", list_keys), ("revoke", revoke)):
    app.command(verb, help=help_of(command))(command)
