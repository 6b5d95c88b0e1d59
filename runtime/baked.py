"""A catalog in a file: made once, where the functions can be imported, and served where not.

`lumbre bake` writes it while an image is built.  With LUMBRE_CATALOG a gateway needs neither the
function files nor what they import, and a worker imports only the files that it runs.  Files that
are there must be those that were baked: otherwise callers' input would be checked against one
version of a function, and another would run.
"""

import asyncio
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from runtime.catalog import Catalog, function_files, release
from runtime.errors import ConfigurationError
from runtime.settings import Settings
from runtime.sourcefile import digest
from runtime.zygote import Zygote, ZygoteGone

AGAIN = "bake it again: lumbre bake FOLDER --output"


class BakedCatalog(Catalog):
    """The functions of a baked catalog; no process is started before a replica needs one."""

    def __init__(self, file: Path, runs: Collection[str] | None) -> None:
        """`runs` names the functions that run here: none is all of them, None is not one."""
        super().__init__([], file)
        self._file = file
        self._runs = runs
        self._baked: dict[str, dict[str, str]] = {}  # by file: the digests of what it is made of

    async def refresh(self) -> None:
        """Read the file; ConfigurationError where it, or a function file, is not what it says."""
        files = _read(self._file)
        try:
            self.recall(files)
            self._baked = {file: dict(entry["digests"]) for file, entry in files.items()}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ConfigurationError(
                f"{self._file} holds no functions that can be read ({why}): {AGAIN} {self._file}"
            ) from None
        if faults := [*self._changed(), *self._missing(), *self._new()]:
            raise ConfigurationError(
                f"{'; '.join(faults)}; LUMBRE_CATALOG={self._file} is of other files: {AGAIN}"
                f" {self._file}, or set LUMBRE_CATALOG to nothing, and they are described at each"
                " start"
            )

    async def _load(self, file: str) -> Zygote:
        if changed := [*_differing(self._baked[file])]:
            raise ZygoteGone(f"{changed[0]} is not the file that was baked into {self._file}")
        return await super()._load(file)

    def _changed(self) -> Iterator[str]:
        """Files that are there, and are not those that were baked."""
        found = {each for known in self._baked.values() for each in _differing(known)}
        yield from (f"{file} has changed" for file in sorted(found) if Path(file).exists())

    def _missing(self) -> Iterator[str]:
        """Files of functions that run here, and are not there."""
        if self._runs is None:
            return
        needed = {
            file
            for spec in self.functions.values()
            if not self._runs or spec.name in self._runs
            for file in self._baked[spec.file]
        }
        yield from (f"{file} is missing" for file in sorted(needed) if not Path(file).exists())

    def _new(self) -> Iterator[str]:
        """Files beside those that were baked, which would never be served."""
        for folder in sorted({Path(file).parent for file in self._baked}):
            for file in function_files(folder):
                if str(file) not in self._baked:
                    yield f"{file} is new"


def open_catalog(settings: Settings, runs: Collection[str] | None) -> Catalog:
    """The catalog that the settings name, to be refreshed: a baked one, or of their folders.

    `runs` names the functions that run in this process: none is all of them, None is not one.
    """
    if not settings.catalog:
        return Catalog(settings.folders, settings.state.resolve() / "catalog.json")
    if settings.reload:
        raise ConfigurationError(
            "LUMBRE_RELOAD takes changed function files, and LUMBRE_CATALOG serves what was baked:"
            " set one of them only"
        )
    return BakedCatalog(Path(settings.catalog).expanduser().resolve(), runs)


async def bake(folders: Sequence[Path]) -> bytes:
    """The functions of some folders as a catalog, JSON; the same files give the same bytes.

    Each file is imported in a process of its own.  ConfigurationError names the files that cannot
    be used, each with its error.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(f"there is no folder {folder}: say where the functions are")
    try:
        scratch = tempfile.TemporaryDirectory(prefix="lumbre-bake-")
    except OSError as error:
        raise ConfigurationError(
            f"nothing can be baked without a temporary folder: {error}; name one in TMPDIR"
        ) from None
    with scratch as folder_of_cache:
        catalog = Catalog(folders, Path(folder_of_cache, "catalog.json"))
        try:
            await _describe(catalog)
            files = catalog.descriptions()
        finally:
            catalog.close()
    if not catalog.functions:
        raise ConfigurationError(
            f"there are no functions in {', '.join(map(str, folders))}: `lumbre new NAME` makes one"
        )
    baked = {"lumbre": release(), "files": files}
    return orjson.dumps(baked, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


async def _describe(catalog: Catalog) -> None:
    """Describe every file, however long its import takes; ConfigurationError for broken ones."""
    late = asyncio.Event()
    catalog.on_late = late.set
    await catalog.refresh()
    while any(broken.error.type == "Importing" for broken in catalog.broken.values()):
        await late.wait()
        late.clear()
        await catalog.refresh()
    if catalog.broken:
        faults = [
            f"{broken.file}: {broken.error.type}: {broken.error.message}"
            for _, broken in sorted(catalog.broken.items())
        ]
        raise ConfigurationError(f"nothing is baked: {'; '.join(faults)}")


def _differing(known: dict[str, str]) -> Iterator[str]:
    return (file for file, baked in known.items() if digest(file) != baked)


def _read(file: Path) -> dict[str, Any]:
    try:
        baked = orjson.loads(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"LUMBRE_CATALOG={file} cannot be read ({error.strerror}): lumbre bake FOLDER --output"
            f" {file} makes it"
        ) from None
    except ValueError:
        baked = None
    if not isinstance(baked, dict) or not isinstance(baked.get("files"), dict):
        raise ConfigurationError(f"LUMBRE_CATALOG={file} is no baked catalog: {AGAIN} {file}")
    if baked.get("lumbre") != release():
        raise ConfigurationError(
            f"LUMBRE_CATALOG={file} was made by Lumbre {baked.get('lumbre')}, and this is Lumbre"
            f" {release()}: {AGAIN} {file}, with this one"
        )
    return dict(baked["files"])
