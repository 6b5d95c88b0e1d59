"""Looks at what is kept: the ledger, the blobs and the state folder."""

import asyncio
import secrets
import shutil
import tempfile
from pathlib import Path

from runtime import database, schema
from runtime.blobs import Blobs
from runtime.finding import Finding, ok, problem, warning
from runtime.settings import Settings, without_password

STATE = "LUMBRE_STATE"
RIGHTS = "give this user the right to write there, or choose another place: {}"
LOW = 2**30  # bytes of a disk below which it is said


async def examine_ledger(settings: Settings) -> list[Finding]:
    """Whether it can be reached, and its tables are those this Lumbre knows; nothing is changed."""
    url = database.address(settings.ledger)
    if url.get_backend_name() == "sqlite" and not Path(f"{url.database}").exists():
        folder = Path(f"{url.database}").parent
        setting = "LUMBRE_LEDGER_URL" if settings.ledger_url else STATE
        return [await asyncio.to_thread(_to_be_made, "ledger", f"{url.database}", folder, setting)]
    opened = await database.connect(url)
    try:
        async with opened.preparing() as connection:
            found = await opened.revision(connection)
    finally:
        await opened.close()
    name = opened.dialect.name(url)
    if found == schema.REVISION:
        return [ok("ledger", f"{name}, revision {found}")]
    if opened.dialect.SELF_MADE:
        return [ok("ledger", f"{name}; whoever opens it next brings it to {schema.REVISION}")]
    has = "no tables yet" if found is None else f"revision {found or 'none'}"
    text = f"{name} has {has}, and this Lumbre needs {schema.REVISION}"
    return [problem("ledger", text, "run: lumbre migrate")]


async def examine_blobs(settings: Settings) -> list[Finding]:
    """Whether what is written there can be read, and removed."""
    return [await asyncio.to_thread(_blobs, settings)]


async def examine_state(settings: Settings) -> list[Finding]:
    """Whether the state folder takes files, and its disk has room."""
    return [await asyncio.to_thread(_state, settings.state.resolve())]


def _blobs(settings: Settings) -> Finding:
    shown = without_password(settings.blobs)
    setting = "LUMBRE_BLOBS_URL" if settings.blobs_url else STATE
    try:
        blobs = Blobs(settings.blobs)
        folder = Path(blobs.path("")) if blobs.local else None
        if folder and not folder.exists():
            return _to_be_made("blobs", f"{folder}", folder, setting)
        return _probe(blobs, shown)
    except Exception as error:  # each store raises what its own library has
        said = without_password(f"{error}".partition("\n")[0]) or type(error).__name__
        return problem("blobs", f"{shown} cannot be used: {said}", RIGHTS.format(setting))


def _probe(blobs: Blobs, shown: str) -> Finding:
    id, data = f"doctor-{secrets.token_hex(8)}", secrets.token_bytes(1024)
    try:
        blobs.write(f"{id}/probe", data)
        if blobs.read(f"{id}/probe") != data:
            return problem("blobs", f"{shown} gives back other bytes than were written")
    finally:
        blobs.delete(id)
    return ok("blobs", f"{shown}: written, read and removed")


def _state(folder: Path) -> Finding:
    if not folder.exists():
        return _to_be_made("state", f"{folder}", folder, STATE)
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return _unwritable("state", folder, error, STATE)
    room = f"{folder}, {free / 2**30:,.1f} GiB free"
    if free < LOW:
        return warning("state", room, "make room: a full disk stops the ledger")
    return ok("state", room)


def _to_be_made(subject: str, what: str, folder: Path, setting: str) -> Finding:
    """Whether something that is not there yet could be made."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ok(subject, f"{what} is not there yet; a start makes it")
    except OSError as error:
        return _unwritable(subject, existing, error, setting)


def _unwritable(subject: str, folder: Path, error: OSError, setting: str) -> Finding:
    text = f"nothing can be written in {folder} ({(error.strerror or str(error)).lower()})"
    return problem(subject, text, RIGHTS.format(setting))
