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
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from runtime.function import FunctionSpec, spec_from_json
from runtime.model import Failure
from runtime.sourcefile import digest, digests
from runtime.zygote import ForkServer, Zygote, ZygoteGone

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
        self._cache = cache
        self._files: dict[str, _File] = {}
        self._servers = {False: ForkServer(torch=False), True: ForkServer(torch=True)}

    async def refresh(self) -> None:
        """Look at the folders again; only files that changed are described again."""
        known = self._read_cache()
        found = {str(file) for folder in self.folders for file in function_files(folder)}
        for gone in self._files.keys() - found:
            self._drop_zygote(self._files.pop(gone))
        await asyncio.gather(*(self._look_at(file, known.get(file)) for file in sorted(found)))
        self._index()
        self._write_cache()
        self.loaded = True

    async def zygote(self, spec: FunctionSpec) -> Zygote:
        """A live process that has imported the function's file; raises ZygoteGone."""
        entry = self._files.get(spec.file)
        if entry is None:
            raise ZygoteGone(f"{spec.file} is gone")
        async with entry.lock:
            if entry.zygote is None or not entry.zygote.alive:
                entry.zygote = await self._load(spec.file)
                if error := entry.zygote.loaded["error"]:
                    raise ZygoteGone(f"{error['type']}: {error['message']}")
            return entry.zygote

    async def warm(self) -> None:
        """Import every file now, so that the first replica of each starts at once."""
        for spec in list(self.functions.values()):
            try:
                await self.zygote(spec)
            except ZygoteGone as error:
                log.warning("function=%s cannot be imported: %s", spec.name, error)

    def close(self) -> None:
        """End every process."""
        for entry in self._files.values():
            self._drop_zygote(entry)
        for server in self._servers.values():
            server.close()

    async def _look_at(self, file: str, known: dict[str, Any] | None) -> None:
        entry = self._files.get(file)
        if entry and not entry.error and _unchanged(entry.digests):
            return
        if entry is None and known and _unchanged(known["digests"]):
            specs = [spec_from_json(spec) for spec in known["functions"]]
            self._files[file] = _File(specs, known["digests"])
            return
        try:
            zygote = await self._load(file)
        except ZygoteGone:  # the fork server was killed, say: the next one is another
            zygote = await self._load(file)
        answer = zygote.loaded
        if entry:
            self._drop_zygote(entry)
        error = Failure(**answer["error"]) if answer["error"] else None
        release = _version(answer["files"])
        specs = [spec_from_json(spec | {"version": release}) for spec in answer["functions"]]
        self._files[file] = _File(specs, answer["files"], error, zygote if not error else None)

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

    def _read_cache(self) -> dict[str, Any]:
        try:
            cache = orjson.loads(self._cache.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        files: dict[str, Any] = cache.get("files", {}) if cache.get("made_by") == _made_by() else {}
        return files

    def _write_cache(self) -> None:
        files = {
            file: {
                "digests": entry.digests,
                "functions": [dataclasses.asdict(spec) for spec in entry.functions],
            }
            for file, entry in self._files.items()
            if not entry.error
        }
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._cache.with_suffix(".new")
        temporary.write_bytes(orjson.dumps({"made_by": _made_by(), "files": files}))
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


def _unchanged(known: dict[str, str]) -> bool:
    return bool(known) and digests(list(known)) == known


def _version(files: dict[str, str]) -> str:
    joined = "".join(digest for _, digest in sorted(files.items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def _made_by() -> str:
    try:
        release = version("lumbre")
    except PackageNotFoundError:
        release = "source"
    # A spec that another edition of these two files has made may have another shape.
    makers = [digest(str(Path(__file__).with_name(n))) for n in ("function.py", "sourcefile.py")]
    return f"{release} {sys.version} {sys.prefix} {' '.join(makers)}"
