"""The catalog describes files in processes of their own, remembers, and is hard to upset."""

import asyncio
import os
import signal
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from runtime import catalog as module
from runtime import zygote as zygotes
from runtime.catalog import Catalog, function_files, imports_torch
from runtime.devices import find_machine
from runtime.ledger import Ledger
from runtime.node import Node
from runtime.settings import Settings
from tests.support import NodeFactory, RunningNode, eventually

GOOD = """
    from runtime import function

    @function
    def {name}(n: int = {default}) -> int:
        return n
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions").mkdir()
    return tmp_path / "functions"


def write(folder: Path, name: str, text: str) -> Path:
    """A file, whole at once, as editors write it."""
    file = folder / f"{name}.py"
    new = file.with_suffix(".new")
    new.write_text(textwrap.dedent(text))
    new.replace(file)
    return file


def good(folder: Path, name: str, default: int = 1) -> Path:
    """A file with one function of that name."""
    return write(folder, name, GOOD.format(name=name, default=default))


Open = Callable[[], Awaitable[Catalog]]


@pytest.fixture
async def opened(folder: Path) -> AsyncIterator[Open]:
    """Open a catalog of the folder, with the same cache each time."""
    catalogs: list[Catalog] = []

    async def opened() -> Catalog:
        catalog = Catalog([folder], folder.parent / "catalog.json")
        catalogs.append(catalog)
        await catalog.refresh()
        return catalog

    yield opened
    for catalog in catalogs:
        catalog.close()


# ── what is found ─────────────────────────────────────────────────────────────────────────────────


def test_files_that_are_private_or_tests_define_no_functions(folder: Path) -> None:
    for name in ("b", "a", "_shared", "test_a", "a_test"):
        (folder / f"{name}.py").touch()
    (folder / "notes.txt").touch()
    assert [file.name for file in function_files(folder)] == ["a.py", "b.py"]


async def test_a_file_may_define_many_functions_and_import_others_undefined(
    folder: Path, opened: Open
) -> None:
    good(folder, "one")
    write(
        folder,
        "two",
        """
        from runtime import function
        from one import one  # another file's function is not this one's

        @function
        def second() -> None: ...
        @function(name="third")
        class Other:
            def __call__(self) -> None: ...
        """,
    )
    catalog = await opened()
    assert not catalog.broken
    assert {name: Path(s.file).stem for name, s in catalog.functions.items()} == {
        "one": "one",
        "second": "two",
        "third": "two",
    }
    assert catalog.functions["third"].attribute == "Other"


BROKEN = {
    "raises": ("1 / 0", "ZeroDivisionError", "division by zero"),
    "speechless": ("raise KeyError", "KeyError", "KeyError"),
    "unreadable": ("def f(:", "SyntaxError", "invalid syntax"),
    "missing": ("import no_such_module", "ModuleNotFoundError", "no_such_module"),
    "leaves": ("import sys; sys.exit('no more')", "SystemExit", "no more"),
    "interrupts": ("raise KeyboardInterrupt", "ImportCrashed", "exit status 1"),
    "vanishes": ("import os; os._exit(0)", "ImportCrashed", "exit status 0"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "ImportCrashed", "signal 11 (SIGSEGV)"),
    "hangs": ("while True: pass", "Timeout", "importing took over 2 s"),
    "threads": (
        "import threading, time; threading.Thread(target=time.sleep, args=(9,)).start()",
        "ConfigurationError",
        "starts a thread (Thread-1 (sleep)) while it is imported",
    ),
    "misused": (
        "from runtime import function\n@function\ndef f(n): ...",
        "ConfigurationError",
        "function 'f' has no type for parameter 'n'",
    ),
}


async def test_a_file_that_cannot_be_imported_is_broken_and_others_are_not(
    folder: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygotes, "LOAD_TIMEOUT", 2.0)
    for name, (text, _, _) in BROKEN.items():
        write(folder, name, text)
    good(folder, "works")
    catalog = await opened()
    assert set(catalog.functions) == {"works"}
    told = {name: (b.error.type, b.error.message) for name, b in catalog.broken.items()}
    assert {name: kind for name, (kind, _) in told.items()} == {
        name: kind for name, (_, kind, _) in BROKEN.items()
    }
    for name, (_, _, message) in BROKEN.items():
        assert message in told[name][1], name
    assert 'raises.py", line 1' in (catalog.broken["raises"].error.traceback or "")
    assert (await catalog.zygote(catalog.functions["works"])).alive


async def test_a_file_that_forks_while_it_is_imported_is_there_once(
    folder: Path, opened: Open
) -> None:
    forks = """
        import os, time
        from runtime import function

        if os.fork():
            time.sleep(0.2)  # the child is the first to have imported it

        @function
        def f() -> None: ...
    """
    write(folder, "forks", forks)
    catalog = await opened()
    assert set(catalog.functions) == {"f"}
    zygote = only_child_of_the_child()
    eventually(lambda: not Path(f"/proc/{zygote}/task/{zygote}/children").read_text())


async def test_a_name_that_two_files_define_is_the_first_ones(folder: Path, opened: Open) -> None:
    good(folder, "first")
    write(
        folder, "second", GOOD.format(name="first", default=2) + GOOD.format(name="own", default=3)
    )
    catalog = await opened()
    assert {name: Path(s.file).name for name, s in catalog.functions.items()} == {
        "first": "first.py",
        "own": "second.py",
    }
    error = catalog.broken["second"].error
    assert error.type == "ConfigurationError"
    assert "both define 'first': rename one" in error.message
    good(folder, "second")
    await catalog.refresh()
    assert not catalog.broken


async def test_a_file_that_takes_long_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    gate = folder / "gate"
    wait = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    good(folder, "quick")
    write(folder, "slow", wait + textwrap.dedent(GOOD.format(name="slow", default=1)))
    settings = Settings(functions=str(folder), state=folder.parent / "state")
    node = Node(settings, find_machine(settings), await Ledger.open(settings.ledger))
    try:
        await node.start()
        assert set(node.catalog.functions) == {"quick"}
        assert node.catalog.broken["slow"].error.type == "Importing"
        gate.touch()
        async with asyncio.timeout(10):
            while ("slow", "cpu") not in node.worker.pools:
                await asyncio.sleep(0.01)
        assert set(node.catalog.functions) == {"quick", "slow"}
        assert not node.catalog.broken
    finally:
        await node.drain()
        await node.close()


# ── what is remembered ────────────────────────────────────────────────────────────────────────────


def imports(folder: Path) -> int:
    """How often the file that tells of it was imported."""
    log = folder / "imports.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def telling(folder: Path) -> Path:
    """A file that leaves a line when it is imported, and imports a sibling."""
    write(folder, "_sibling", "DEFAULT = 5")
    return write(
        folder,
        "telling",
        f"""
        from runtime import function
        from _sibling import DEFAULT
        print("imported", file=open({str(folder / "imports.log")!r}, "a"))

        @function
        def telling(n: int = DEFAULT) -> int:
            return n
        """,
    )


async def test_an_unchanged_folder_is_not_imported_again(folder: Path, opened: Open) -> None:
    telling(folder)
    first = await opened()
    assert imports(folder) == 1
    await first.refresh()
    second = await opened()
    assert imports(folder) == 1
    assert second.functions == first.functions
    assert (await second.zygote(second.functions["telling"])).alive
    assert imports(folder) == 2


async def test_a_change_of_a_sibling_is_a_change(folder: Path, opened: Open) -> None:
    telling(folder)
    first = (await opened()).functions["telling"]
    write(folder, "_sibling", "DEFAULT = 6")
    catalog = await opened()
    changed = catalog.functions["telling"]
    assert imports(folder) == 2
    assert changed.version != first.version
    assert changed.input_schema["properties"]["n"]["default"] == 6
    (folder / "_sibling.py").unlink()
    await catalog.refresh()
    assert catalog.broken["telling"].error.type == "ModuleNotFoundError"
    write(folder, "_sibling", "DEFAULT = 5")
    await catalog.refresh()
    assert catalog.functions["telling"] == first


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cache: b"",
        lambda cache: b"[]",
        lambda cache: orjson.dumps(cache | {"made_by": "another version"}),
        lambda cache: orjson.dumps(cache | {"files": {f: {} for f in cache["files"]}}),
        lambda cache: orjson.dumps(
            cache
            | {"files": {f: v | {"functions": [{"name": "x"}]} for f, v in cache["files"].items()}}
        ),
    ],
)
async def test_a_cache_that_is_of_no_use_is_not_used(
    folder: Path, opened: Open, spoil: Callable[[Any], bytes]
) -> None:
    telling(folder)
    expected = (await opened()).functions
    cache = folder.parent / "catalog.json"
    cache.write_bytes(spoil(orjson.loads(cache.read_bytes())))
    assert (await opened()).functions == expected
    assert imports(folder) == 2


async def test_a_broken_file_is_not_remembered(folder: Path, opened: Open) -> None:
    write(
        folder,
        "picky",
        f"open({str(folder / 'data')!r})\n" + textwrap.dedent(GOOD).format(name="f", default=1),
    )
    catalog = await opened()
    assert catalog.broken["picky"].error.type == "FileNotFoundError"
    (folder / "data").touch()
    await catalog.refresh()
    assert set(catalog.functions) == {"f"} and not catalog.broken


# ── processes ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_zygote_that_was_killed_is_replaced(folder: Path, opened: Open) -> None:
    good(folder, "one")
    catalog = await opened()
    spec = catalog.functions["one"]
    first = await catalog.zygote(spec)
    assert await catalog.zygote(spec) is first
    os.kill(only_child_of_the_child(), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while first.alive:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    second = await catalog.zygote(spec)
    assert second is not first and second.alive


def only_child_of_the_child() -> int:
    """The one zygote of the one fork server of this process."""
    found = [
        int(pid)
        for server in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        if b"runtime.forkserver" in Path(f"/proc/{server}/cmdline").read_bytes()
        for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("torch", "kind", "message"),
    [
        ("raise ImportError('libcudart.so is missing')", "ImportError", "libcudart"),
        ("raise OSError('a wheel for another machine')", "OSError", "another machine"),
        ("import os; os._exit(1)", "ForkServerEnded", "ended while importing torch"),
    ],
)
async def test_a_torch_that_cannot_be_imported_breaks_only_who_imports_it(
    folder: Path,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    torch: str,
    kind: str,
    message: str,
) -> None:
    write(folder.parent, "torch", torch)
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    write(folder, "needs", "import torch")
    good(folder, "plain")
    catalog = await opened()
    assert set(catalog.functions) == {"plain"}
    error = catalog.broken["needs"].error
    assert error.type == kind and message in error.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import torch", True),
        ("import torch.nn as nn", True),
        ("from torch import nn", True),
        ("import numpy, torch", True),
        ("import torchvision_like", False),
        ("def f():\n    import torch", False),
        ("from _uses import x", True),
        ("from _plain import x", False),
        ("from _round import x", False),
        ("import _gone", False),
        ("this is no Python", False),
    ],
)
def test_a_file_imports_torch_if_its_text_or_that_of_a_sibling_says_so(
    folder: Path, text: str, expected: bool
) -> None:
    write(folder, "_uses", "import torch")
    write(folder, "_plain", "import json")
    write(folder, "_round", "import _about")
    write(folder, "_about", "import _round, _plain")
    assert imports_torch(str(write(folder, "f", text))) is expected
    assert not imports_torch(str(folder / "absent.py"))


# ── a node that reloads ───────────────────────────────────────────────────────────────────────────

SLEEPER = """
    import time
    from runtime import Scaling, function

    @function(scaling=Scaling(max_replicas=2))
    def sleeper(seconds: float) -> str:
        time.sleep(seconds)
        return {answer!r}
"""


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a node that reloads."""
    folder = tmp_path_factory.mktemp("living")
    write(folder, "sleeper", SLEEPER.format(answer="old"))
    good(folder, "steady")
    good(folder, "doomed")
    return folder


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, living: Path) -> RunningNode:
    return start_node(living, LUMBRE_RELOAD="1")


def invoke(node: RunningNode, function: str, **parameters: Any) -> Any:
    return node.client.post(f"/invoke/{function}", json=parameters)


def function(node: RunningNode, name: str) -> dict[str, Any]:
    return dict(node.client.get(f"/functions/{name}").json())


def test_a_changed_file_is_taken_without_losing_what_runs(node: RunningNode, living: Path) -> None:
    assert invoke(node, "sleeper", seconds=0).json() == "old"
    before = function(node, "sleeper")["version"]
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(invoke, node, "sleeper", seconds=1.5)
        eventually(lambda: function(node, "sleeper")["replicas"]["cpu"]["busy"])
        write(living, "sleeper", SLEEPER.format(answer="new"))
        eventually(lambda: invoke(node, "sleeper", seconds=0).json() == "new")
        assert not running.done()
        finished = running.result()
    assert (finished.status_code, finished.json()) == (200, "old")
    assert finished.headers["Invocation-Attempt"] == "1"
    after = function(node, "sleeper")["version"]
    assert after != before
    record = node.client.get(f"/invocations/{finished.headers['Invocation-Id']}").json()
    assert record["version"] == before
    assert invoke(node, "sleeper", seconds=0).json() == "new"


def test_a_file_that_becomes_broken_shows_as_broken_until_it_is_mended(
    node: RunningNode, living: Path
) -> None:
    write(living, "steady", "1 / 0")
    eventually(lambda: function(node, "steady").get("error"))
    assert function(node, "steady")["error"]["type"] == "ZeroDivisionError"
    answer = invoke(node, "steady")
    assert answer.status_code == 503
    assert "ZeroDivisionError: division by zero" in answer.json()["detail"]
    assert invoke(node, "sleeper", seconds=0).status_code == 200
    good(living, "steady", default=7)
    eventually(lambda: invoke(node, "steady").status_code == 200)
    assert invoke(node, "steady").json() == 7


def test_a_file_that_is_removed_disappears_and_a_new_one_is_there(
    node: RunningNode, living: Path
) -> None:
    assert invoke(node, "doomed").status_code == 200
    (living / "doomed.py").unlink()
    good(living, "newcomer", default=9)
    eventually(lambda: invoke(node, "doomed").status_code == 404)
    eventually(lambda: invoke(node, "newcomer").status_code == 200)
    names = {item["name"] for item in node.client.get("/functions").json()["items"]}
    assert "newcomer" in names and "doomed" not in names
    assert invoke(node, "newcomer").json() == 9
