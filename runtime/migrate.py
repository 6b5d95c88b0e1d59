"""Brings a ledger's tables to the revision this Lumbre knows.

Revisions are numbered and lie in `runtime/migrations`.  All that are missing are applied in one
transaction, so that a ledger has all of them or none, and one process does it while others wait.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection

from runtime import database

FOLDER = Path(__file__).parent / "migrations"

logging.getLogger("alembic").setLevel(logging.WARNING)  # what it does is told by whoever asked


def current(url: str) -> str | None:
    """The revision of the ledger at a URL; None where there is none yet.

    ConfigurationError, or Unavailable, where that cannot be read.
    """
    return asyncio.run(_current(database.address(url)))


def upgrade(url: str) -> list[str]:
    """Apply every revision that is missing, and make the ledger if need be; what was applied.

    Blocks, and runs an event loop of its own: call it in a thread where one runs already.
    ConfigurationError for a ledger that a newer Lumbre has made, and where it cannot be written.
    """
    return asyncio.run(_upgrade(database.address(url)))


def newest() -> str:
    """The newest revision there is."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise FileNotFoundError(f"no revisions in {FOLDER}")
    return head


async def _current(url: URL) -> str | None:
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return None
    opened = await database.connect(url)
    try:
        async with opened.preparing() as connection:
            return await opened.revision(connection)
    finally:
        await opened.close()


async def _upgrade(url: URL) -> list[str]:
    applied: list[str] = []

    def note(step: Any, **_: Any) -> None:
        script = step.up_revision
        applied.append(f"{script.revision}: {script.doc.rstrip('.')}")

    def run(connection: Connection) -> None:
        command.upgrade(_config(connection=connection, on_version_apply=note), "head")

    opened = await database.connect(url, patient=True)
    try:
        async with opened.preparing() as connection:
            await opened.dialect.alone(connection)
            await opened.revision(connection)  # refuses what is newer
            await connection.run_sync(run)
    finally:
        await opened.close()
    return applied


def _config(**attributes: Any) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
