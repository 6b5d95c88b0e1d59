"""`lumbre audit`: whether every accepted invocation is accounted for, in the ledger and in queues.

A running gateway answers it.  Where none runs on this machine, its ledger is read, and the queues
are not asked.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.cli.flags import FAILED, Json, Url
from runtime.errors import ConfigurationError, LumbreError
from runtime.settings import Settings, read_settings, without_password

Repair = Annotated[
    bool, typer.Option("--repair", help="Put what is lost into its queue once more.")
]


def audit(repair: Repair = False, url: Url = None, json: Json = False) -> None:
    """Check that every accepted invocation is accounted for; exit 1 if not.

    Asks the node what its ledger waits for and what its queues hold, and names what is nowhere;
    where no node runs on this machine, reads its ledger. It takes some seconds more where something
    may be lost.

    \b
    Examples:
      lumbre audit
      lumbre audit --json | jq '.lost\\[].id'
      lumbre audit --repair      run again what is nowhere
    """
    from runtime.cli import session, terminal

    found = _ask(url, repair, json)
    if json:
        session.print_json(found)
    else:
        session.show(terminal.audit(found))
    if not found["holds"]:
        raise typer.Exit(FAILED)


def _ask(url: str | None, repair: bool, json: bool) -> dict[str, Any]:
    from runtime.cli import session
    from runtime.cli.client import NoNode

    try:
        with session.asking(url, json) as node:
            found: dict[str, Any] = node.repair() if repair else node.get("/audit")
            return found
    except NoNode as gone:
        if url is not None:  # a node that was named is not this machine's ledger
            raise
        if repair:
            raise NoNode(f"{gone}; only a node can put back what is lost") from None
        return _read(read_settings(), gone)


def _read(settings: Settings, gone: LumbreError) -> dict[str, Any]:
    """The same from the ledger alone, which is not made where there is none."""
    import asyncio

    from runtime.auditor import reckoning_view
    from runtime.cli import session

    url = settings.ledger
    file = url.partition(":///")[2].partition("?")[0] if url.startswith("sqlite") else ""
    if file and not Path(file).is_file():
        raise ConfigurationError(f"{gone}; and there is no ledger {file} to read")
    found = asyncio.run(_reckon(url))
    queues = "" if settings.embedded else ", and its queues were not asked"
    session.note(f"{gone}; read from {file or without_password(url)}{queues}")
    return reckoning_view(found)


async def _reckon(url: str) -> Any:
    from runtime.auditor import NAMED, Reckoning
    from runtime.ledger import Ledger

    ledger = await Ledger.open(url)
    try:
        return Reckoning(await ledger.audit(), tuple(await ledger.census.odd(NAMED)))
    finally:
        await ledger.close()
