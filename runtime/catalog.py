"""Which functions there are: found in folders, described in a throw-away process, remembered.

The gateway reads specs from here and never imports user code.  A description is kept under the
digests of the file and of what it imports from its own folder, so that an unchanged folder costs
nothing at the next start.  A file that cannot be used is listed as broken, with its error.
"""

import ast
import asyncio
import dataclasses
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from runtime.function import FunctionSpec, spec_from_json
from runtime.model import Failure
from runtime.sourcefile import digest, digests
from runtime.zygote import ForkServer, Zygote, ZygoteGone

PATIENCE = 20.0  # seconds that a refresh waits for imports
HUNG = ("Timeout", "Importing")  # errors of a file that is not tried again until it changes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broken:
    """A function file that cannot be used, and why; `name` is the file's."""

    name: str
    file: str
    error: Failure


@dataclass(slots=True)
class _File:
    functions: list[FunctionSpec]
    digests: dict[str, str]
    error: Failure | None = None
    zygote: Zygote | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Catalog:
    """The functions of some folders."""

    def __init__(self, folders: Iterable[Path], cache: Path) -> None:
        self.folders = list(folders)
        self.functions: dict[str, FunctionSpec] = {}
        self.broken: dict[str, Broken] = {}
        self.loaded = False
        self.on_late: Callable[[], None] = lambda: None
        self._cache = cache
        self._files: dict[str, _File] = {}
        self._refreshing = asyncio.Lock()
        self._looking: dict[str, asyncio.Task[None]] = {}  # by file
        self._late: set[str] = set()  # files that are still being imported
        self._servers = {False: ForkServer(torch=False), True: ForkServer(torch=True)}

    async def refresh(self) -> None:
        """Look at the folders again; only files that changed are described again.

        A file whose import takes long is not waited for: it is listed as broken for the while, or
        stays what it was, and `on_late` is called once it can be had by another refresh.
        """
        async with self._refreshing:
            self._forget_done()  # a file that came late may have changed since
            known = self._read_cache()
            found = {str(file) for folder in self.folders for file in function_files(folder)}
            for gone in self._files.keys() - found:
                self._drop_zygote(self._files.pop(gone))
            for file in sorted(found - self._looking.keys()):
                looking = self._look_at(file, known.get(file))
                self._looking[file] = asyncio.create_task(looking)
            await self._wait_for_imports()
            self._index()
            self._write_cache()
            self.loaded = True

    async def _wait_for_imports(self) -> None:
        if self._looking:
            await asyncio.wait(self._looking.values(), timeout=PATIENCE)
        self._forget_done()
        for file in self._looking.keys() - self._late:
            self._late.add(file)
            self._looking[file].add_done_callback(self._come_late)
            text = f"its import has taken over {PATIENCE:g} s and goes on"
            self._files.setdefault(file, _File([], {}, Failure("Importing", text)))

    def _forget_done(self) -> None:
        for file in [file for file, task in self._looking.items() if task.done()]:
            self._late.discard(file)
            self._looking.pop(file).result()

    def _come_late(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.on_late()

    async def zygote(self, spec: FunctionSpec) -> Zygote:
        """A live process that has imported the function's file; raises ZygoteGone."""
        while True:
            entry = self._files.get(spec.file)
            if entry is None:
                raise ZygoteGone(f"{spec.file} is gone")
            async with entry.lock:
                if self._files.get(spec.file) is not entry:
                    continue  # another version has come while its predecessor was loaded
                if entry.zygote is None or not entry.zygote.alive:
                    entry.zygote = await self._load(spec.file)
                    if error := entry.zygote.loaded["error"]:
                        raise ZygoteGone(f"{error['type']}: {error['message']}")
                return entry.zygote

    async def warm(self, names: Collection[str] = ()) -> None:
        """Import the files now, so that the first replica of each function starts at once.

        Those of `names`; of all functions where none is named.
        """
        for spec in list(self.functions.values()):
            if names and spec.name not in names:
                continue
            try:
                await self.zygote(spec)
            except ZygoteGone as error:
                log.warning("function=%s cannot be imported: %s", spec.name, error)

    def close(self) -> None:
        """End every process."""
        for task in self._looking.values():
            task.cancel()
        for entry in self._files.values():
            self._drop_zygote(entry)
        for server in self._servers.values():
            server.close()

    async def _look_at(self, file: str, known: _File | None) -> None:
        entry = self._files.get(file)
        if entry and _unchanged(entry.digests) and (not entry.error or entry.error.type in HUNG):
            return
        if entry is None and known and _unchanged(known.digests):
            self._files[file] = known
            return
        described = await self._describe(file)
        if entry := self._files.get(file):
            async with entry.lock:
                self._drop_zygote(entry)
        self._files[file] = described

    async def _describe(self, file: str) -> _File:
        try:
            zygote = await self._load(file)
        except ZygoteGone:
            # Somebody killed the fork server, and the next one is another; or it is the file.
            try:
                zygote = await self._load(file)
            except ZygoteGone as error:
                return _File([], digests([file]), Failure("ForkServerEnded", str(error)))
        answer = zygote.loaded
        files = answer["files"] or digests([file])
        if answer["error"]:
            return _File([], files, Failure(**answer["error"]))
        specs = [spec_from_json(s | {"version": _version(files)}) for s in answer["functions"]]
        return _File(specs, files, None, zygote)

    async def _load(self, file: str) -> Zygote:
        return await self._servers[imports_torch(file)].load(file)

    def _index(self) -> None:
        functions: dict[str, FunctionSpec] = {}
        broken: dict[str, Broken] = {}
        for file, entry in sorted(self._files.items()):
            stem = Path(file).stem
            if entry.error:
                broken[stem] = Broken(stem, file, entry.error)
            for spec in entry.functions:
                if other := functions.get(spec.name):
                    text = f"{file} and {other.file} both define {spec.name!r}: rename one"
                    broken[stem] = Broken(stem, file, Failure("ConfigurationError", text))
                else:
                    functions[spec.name] = spec
        self.functions, self.broken = functions, broken

    def _drop_zygote(self, entry: _File) -> None:
        # Its replicas may still be finishing what they run: they are left alone, and the zygote,
        # which they need as their parent, goes when the last of them has ended.
        zygote, entry.zygote = entry.zygote, None
        if zygote and zygote.alive:
            zygote.close_when_idle()

    def descriptions(self) -> dict[str, Any]:
        """What was described, by file, as JSON: the functions, and the digests of what they are of.

        Files that cannot be used are left out.
        """
        return {
            file: {
                "digests": entry.digests,
                "functions": [dataclasses.asdict(spec) for spec in entry.functions],
            }
            for file, entry in sorted(self._files.items())
            if not entry.error
        }

    def recall(self, files: dict[str, Any]) -> None:
        """Serve what `descriptions` gave, without a look at the files.

        Raises LookupError, TypeError, ValueError or AttributeError for what it did not give.
        """
        self._files = _described(files)
        self._index()
        self.loaded = True

    def _read_cache(self) -> dict[str, _File]:
        """What was described before, by file; nothing if that cannot be read or is another's."""
        try:
            cache = orjson.loads(self._cache.read_bytes())
            return _described(cache["files"] if cache["made_by"] == _made_by() else {})
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}  # ValueError: no JSON, or no spec

    def _write_cache(self) -> None:
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._cache.with_suffix(f".{os.getpid()}")  # others may write theirs just now
        cache = {"made_by": _made_by(), "files": self.descriptions()}
        temporary.write_bytes(orjson.dumps(cache))
        temporary.replace(self._cache)


def function_files(folder: Path) -> list[Path]:
    """The Python files of a folder that may define functions: not `_x.py`, not `test_x.py`."""
    return sorted(
        file
        for file in folder.glob("*.py")
        if not file.name.startswith(("_", "test_")) and not file.name.endswith("_test.py")
    )


def imports_torch(file: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether the file imports torch at its top level, by its text; False if it cannot be read.

    Siblings whose names begin with _ are looked into, too; `seen` are those that led here.
    """
    seen |= {file}
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    siblings = [str(Path(file).parent / f"{name}.py") for name in names if name.startswith("_")]
    return any(name.partition(".")[0] == "torch" for name in names) or any(
        imports_torch(sibling, seen) for sibling in siblings if sibling not in seen
    )


def _described(files: dict[str, Any]) -> dict[str, _File]:
    """What `Catalog.descriptions` gave, after it went through JSON."""
    return {
        file: _File([spec_from_json(s) for s in entry["functions"]], dict(entry["digests"]))
        for file, entry in files.items()
    }


def _unchanged(known: dict[str, str]) -> bool:
    return bool(known) and digests(list(known)) == known


def _version(files: dict[str, str]) -> str:
    joined = "".join(digest for _, digest in sorted(files.items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def release() -> str:
    """The version of Lumbre."""
    try:
        return version("lumbre")
    except PackageNotFoundError:
        return "source"


def _made_by() -> str:
    # A spec that another edition of these two files has made may have another shape.
    makers = [digest(str(Path(__file__).with_name(n))) for n in ("function.py", "sourcefile.py")]
    return f"{release()} {sys.version} {sys.prefix} {' '.join(makers)}"
