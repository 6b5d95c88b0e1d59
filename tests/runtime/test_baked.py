"""A baked catalog: made by `lumbre bake`, and served by who cannot import the functions."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx
import orjson
import pytest

from runtime import catalog
from runtime.baked import BakedCatalog, bake, open_catalog
from runtime.doctor.functions import examine_functions
from runtime.errors import ConfigurationError
from runtime.finding import State
from runtime.settings import Settings
from runtime.zygote import ZygoteGone
from tests.support import ROOT, START_TIMEOUT, eventually

RELEASE = re.escape(catalog.release())
HEAVY = """
from typing import Annotated
from pydantic import Field
import heavy
from _shared import FACTOR
from runtime import function

@function(timeout=20)
def times(n: Annotated[int, Field(ge=0)]) -> int:
    \"\"\"A product.\"\"\"
    return n * FACTOR * heavy.ONE
"""
PLAIN = """
from runtime import function

@function
def plain() -> str:
    return "plain"
"""
# What an environment without torch is like, to who would import it.
NO_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy", "heavy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def write(home: Path) -> Path:
    """A folder of functions, one of which imports what only `home/libraries` has."""
    (home / "libraries").mkdir()
    (home / "libraries" / "heavy.py").write_text("ONE = 1\n")
    found = home / "functions"
    found.mkdir()
    (found / "_shared.py").write_text("FACTOR = 3\n")
    (found / "times.py").write_text(HEAVY)
    (found / "plain.py").write_text(PLAIN)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A folder of functions, and its catalog."""
    folder = write(tmp_path_factory.mktemp("baked"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(folder.parent / "libraries"))
        return str(folder), asyncio.run(bake([folder])).decode()


@pytest.fixture
def made(folder: Path, once: tuple[str, str]) -> Path:
    """A catalog of the folder."""
    other, text = once
    file = folder.parent / "catalog.json"
    file.write_text(text.replace(other, str(folder)))
    return file


async def opened(file: Path, runs: tuple[str, ...] | None) -> BakedCatalog:
    found = BakedCatalog(file, runs)
    await found.refresh()
    return found


# ── bake ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_baked_catalog_has_what_a_catalog_of_the_folder_has(
    folder: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "libraries"))
    whole = catalog.Catalog([folder], tmp_path / "cache.json")
    await whole.refresh()
    whole.close()
    read = await opened(made, ())
    assert read.loaded and not read.broken
    assert {name: asdict(spec) for name, spec in read.functions.items()} == {
        name: asdict(spec) for name, spec in whole.functions.items()
    }
    assert read.functions["times"].version


async def test_the_same_files_are_baked_into_the_same_bytes(folder: Path) -> None:
    (folder / "times.py").unlink()
    assert await bake([folder]) == await bake([folder])


def lumbre(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    return subprocess.run(
        [sys.executable, "-m", "runtime", *arguments],
        env=environment | {"PYTHONPATH": str(ROOT)} | more,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_lumbre_bake_writes_nothing_where_a_file_is_broken(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "catalog.json"
    done = lumbre("bake", folder, "--output", output)
    assert done.returncode == 1
    assert done.stderr.startswith("lumbre: nothing is baked: ")
    assert "times.py: ModuleNotFoundError: No module named 'heavy'" in done.stderr
    assert not output.exists()


def test_lumbre_bake_takes_the_folders_of_the_settings_and_writes_to_standard_output(
    folder: Path,
) -> None:
    (folder / "times.py").unlink()
    done = lumbre("bake", "--output", "-", LUMBRE_FUNCTIONS=str(folder))
    assert done.returncode == 0, done.stderr
    assert list(orjson.loads(done.stdout)["files"]) == [str(folder / "plain.py")]


async def test_a_folder_without_functions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no folder .*nowhere"):
        await bake([tmp_path / "nowhere"])
    with pytest.raises(ConfigurationError, match="there are no functions in"):
        await bake([tmp_path])


async def test_without_a_temporary_folder_nothing_is_baked_and_it_is_said_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(ConfigurationError, match="name one in TMPDIR"):
        await bake([folder])


async def test_a_file_whose_import_takes_long_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "PATIENCE", 0.05)
    (folder / "times.py").unlink()
    (folder / "slow.py").write_text(PLAIN.replace("plain", "slow") + "\nimport time; time.sleep(1)")
    files = orjson.loads(await bake([folder]))["files"]
    assert [Path(file).name for file in files] == ["plain.py", "slow.py"]


# ── what is refused ───────────────────────────────────────────────────────────────────────────────


async def test_a_catalog_of_another_version_is_refused_and_both_are_named(made: Path) -> None:
    made.write_bytes(orjson.dumps(orjson.loads(made.read_bytes()) | {"lumbre": "99.7"}))
    with pytest.raises(ConfigurationError, match=f"Lumbre 99.7, and this is Lumbre {RELEASE}"):
        await opened(made, None)


async def test_what_is_no_catalog_is_refused(made: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.json cannot be read .*lumbre bake"):
        await opened(made.with_name("nowhere.json"), None)
    for text in ("", "[]", '{"lumbre": "1"}'):
        made.write_text(text)
        with pytest.raises(ConfigurationError, match="is no baked catalog: bake it again"):
            await opened(made, None)
    made.write_bytes(
        orjson.dumps({"lumbre": catalog.release(), "files": {"a.py": {"digests": {}}}})
    )
    with pytest.raises(ConfigurationError, match=r"no functions that can be read \(KeyError"):
        await opened(made, None)


@pytest.mark.parametrize("runs", [None, (), ("plain",)])
async def test_a_file_that_has_changed_is_refused_by_everybody(
    folder: Path, made: Path, runs: tuple[str, ...] | None
) -> None:
    (folder / "_shared.py").write_text("FACTOR = 4\n")
    with pytest.raises(ConfigurationError, match=r"/_shared\.py has changed; .*bake it again"):
        await opened(made, runs)


@pytest.mark.parametrize("runs", [None, ()])
async def test_a_file_that_is_new_is_refused_by_everybody(
    folder: Path, made: Path, runs: tuple[str, ...] | None
) -> None:
    (folder / "other.py").write_text(PLAIN)
    with pytest.raises(ConfigurationError, match=r"/other\.py is new; .*bake it again"):
        await opened(made, runs)


async def test_a_file_that_is_missing_is_refused_by_those_who_run_it(
    folder: Path, made: Path
) -> None:
    (folder / "_shared.py").unlink()
    with pytest.raises(ConfigurationError, match=r"/_shared\.py is missing"):
        await opened(made, ())
    with pytest.raises(ConfigurationError, match=r"/_shared\.py is missing"):
        await opened(made, ("times",))
    assert (await opened(made, ("plain",))).functions.keys() == {"plain", "times"}
    assert (await opened(made, None)).functions.keys() == {"plain", "times"}


async def test_a_file_that_changes_under_a_worker_is_not_run(folder: Path, made: Path) -> None:
    read = await opened(made, ())
    try:
        assert (await read.zygote(read.functions["plain"])).alive
        (folder / "_shared.py").write_text("FACTOR = 4\n")
        with pytest.raises(ZygoteGone, match=r"_shared\.py is not the file that was baked"):
            await read.zygote(read.functions["times"])
    finally:
        read.close()


def test_a_baked_catalog_and_reload_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match=r"LUMBRE_RELOAD .* set one of them only"):
        open_catalog(Settings(catalog="catalog.json", reload=True), None)


async def test_lumbre_doctor_reads_a_baked_catalog_and_imports_nothing(
    folder: Path, made: Path
) -> None:
    settings = Settings(catalog=str(made), functions="/nowhere")
    found = await examine_functions(settings)
    assert [(each.state, each.text) for each in found] == [
        (State.OK, "2 can be served: plain, times")
    ]
    (folder / "plain.py").write_text("")
    found = await examine_functions(settings)
    assert [each.state for each in found] == [State.PROBLEM]


# ── a gateway that cannot import them ─────────────────────────────────────────────────────────────


@contextmanager
def role(folder: Path, *command: str, **environment: str) -> Iterator[tuple[int, str]]:
    """A role that runs, by its process id, and what it said when it was up; it must end well."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")} | environment
    log = folder / f"{command[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", *command, "--state", str(folder / command[0])],
            cwd=folder,
            env=own | {"LUMBRE_BLOBS_URL": (folder / "blobs").as_uri()},
            stdout=output,
            stderr=output,
        )

    def up() -> str:
        assert process.poll() is None, log.read_text()
        found = re.search(r"lumbre \w+ is up.*", log.read_text())
        return found[0] if found else ""

    try:
        yield process.pid, eventually(up, START_TIMEOUT)
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()


def test_a_gateway_serves_what_it_cannot_import_and_a_worker_runs_it(
    rabbit_url: str, folder: Path, made: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text(NO_TORCH)
    shared = {"LUMBRE_BROKER_URL": rabbit_url, "LUMBRE_CATALOG": str(made)}
    without = {"PYTHONPATH": f"{ROOT}:{bare}", "LUMBRE_FUNCTIONS": "/nowhere"}
    having = {"PYTHONPATH": f"{ROOT}:{tmp_path / 'libraries'}"}
    with role(tmp_path, "gateway", "--port", "0", **shared, **without) as (gateway, said):
        assert "functions: plain, times" in said
        children = Path(f"/proc/{gateway}/task/{gateway}/children")
        assert children.read_text() == ""  # nothing was imported, not even by a child
        url = re.findall(r"http://\S+", said)[0]
        with (
            httpx.Client(base_url=url, timeout=30) as client,
            role(tmp_path, "worker", "times", "--device", "cpu", **shared, **having),
        ):
            assert client.post("/invoke/times", json={"n": -1}).status_code == 422

            answer = eventually(lambda: heard(client.post("/invoke/times", json={"n": 2})))
            assert answer and answer.json() == 6
            shown = client.get("/functions/times").json()
            assert shown["description"] == "A product."


def heard(answer: httpx.Response) -> httpx.Response | None:
    """The answer, once the gateway has heard of the worker."""
    return None if answer.status_code == 503 else answer
