"""The user guide and the quickstart are true: their commands, functions and tables.

Commands run as a reader would type them, in the order of the page.  A curl line must answer 2xx,
or what its comment says: `curl … # 422`.  Tables are compared with what they speak of.
"""

import ast
import dataclasses
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import runtime.errors
from runtime import (
    Batching,
    Context,
    Resources,
    Retry,
    Scaling,
    capture,
    failure,
    function,
    intake,
    model,
    pool,
    stories,
    views,
    zygote,
)
from runtime.cli import COMMANDS, session
from runtime.cli.flags import FAILED
from runtime.problem import OUTCOMES
from runtime.settings import Settings
from tests.support import ROOT, NodeFactory, Page, Reader, RunningNode, eventually


def plain(cell: str) -> str:
    return cell.replace("`", "")


GUIDE, QUICKSTART = Page("user-guide.md"), Page("quickstart.md")
PAGES = {page.name: page for page in (GUIDE, QUICKSTART)}
SOURCES = GUIDE.sources() | QUICKSTART.sources()


# ── commands ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def bin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the commands that an activated environment has."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in (("python", ""), ("lumbre", " -m runtime")):
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{words} "$@"\n')
        file.chmod(0o755)
    return str(folder)


@pytest.fixture(scope="module")
def readers(
    start_node: NodeFactory, tmp_path_factory: pytest.TempPathFactory, bin: str
) -> Callable[[str], Reader]:
    """A reader of each page, in a folder and with a node of their own."""
    known: dict[str, Reader] = {}

    def reader(name: str) -> Reader:
        if name not in known:
            folder = tmp_path_factory.mktemp("reader")
            _prepare(folder, PAGES[name])
            # The guide says what to save before it says how to start; the quickstart the reverse.
            reload = str(int(name == QUICKSTART.name))
            node = start_node(folder / "functions", LUMBRE_RELOAD=reload)
            known[name] = Reader(PAGES[name], node, folder, bin)
        return known[name]

    return reader


def _prepare(folder: Path, page: Page) -> None:
    """What lies in the reader's folder: the shipped functions, a photo, notes, two matrices."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "functions", folder / "functions", ignore=ignored)
    if page is GUIDE:
        for path, text in page.sources().items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
    Image.new("RGB", (64, 48), (200, 30, 90)).save(folder / "photo.png")
    (folder / "notes.txt").write_text("no picture\n")
    generator = np.random.default_rng(0)
    for name, shape in (("a", (5, 7)), ("b", (7, 3))):
        np.save(folder / f"{name}.npy", generator.normal(size=shape))


SHELLS = [
    pytest.param(page.name, number, id=f"{page.name}-{number + 1}")
    for page in PAGES.values()
    for number in range(len(page.blocks("sh")))
]


@pytest.mark.parametrize(("name", "number"), SHELLS)
def test_a_block_of_commands_works_as_printed(
    name: str, number: int, readers: Callable[[str], Reader]
) -> None:
    _, script = PAGES[name].blocks("sh")[number]
    done = readers(name).read_to(number)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [line for line in script.splitlines() if line.startswith("curl ")]
    answered = re.findall(r"^HTTP (\d+)$", done.stderr, re.MULTILINE)
    assert len(answered) == len(calls)
    for call, status in zip(calls, answered, strict=True):
        expected = re.search(r"  # (\d+)$", call)
        assert status == expected[1] if expected else status.startswith("2"), (call, done.stdout)


def test_what_the_commands_of_the_guide_gave_is_right(readers: Callable[[str], Reader]) -> None:
    reader = readers(GUIDE.name)
    reader.read_to(len(GUIDE.blocks("sh")) - 1)
    with Image.open(reader.folder / "small.png") as small:
        assert small.size == (32, 24)
    product = np.load(reader.folder / "a.npy") @ np.load(reader.folder / "b.npy")
    np.testing.assert_allclose(np.load(reader.folder / "product.npy"), product, rtol=1e-5)
    client = reader.node.client
    assert client.get("/invocations/squares-1/blobs/squares.csv").text == "0,0\n1,1\n2,4"
    page = client.get("/invocations?function=primes&status=succeeded&limit=1000").json()
    while page["next"]:  # newest first, and the guide's load test asks for thousands
        page = client.get(page["next"]).json()
    first = page["items"][-1]["links"]["result"]
    assert client.get(first).json() == {"count": 25, "largest": 97}
    rate = client.get("/invocations", params={"function": "rate"}).json()["items"][0]
    assert rate["attempt"] == 3


def test_what_the_commands_of_the_quickstart_gave_is_right(
    readers: Callable[[str], Reader],
) -> None:
    reader = readers(QUICKSTART.name)
    last = len(QUICKSTART.blocks("sh")) - 1
    outputs = [reader.read_to(number).stdout for number in range(last + 1)]
    assert any('{"a":3,"rose":3}' in output for output in outputs)
    assert any("1 passed" in output for output in outputs)
    assert outputs[last].strip() == str(1 + 4 + 9)


def test_commands_that_start_a_node_have_flags_that_exist() -> None:
    flags = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    for page in PAGES.values():
        for command in re.findall(r"lumbre up[^`\n]*", page.text):
            assert set(re.findall(r"--[a-z-]+", command)) <= flags, command


# ── functions ─────────────────────────────────────────────────────────────────────────────────

LOAD = """
import json, sys
from runtime.sourcefile import SourceFile
answer = SourceFile(sys.argv[1]).load()
print(json.dumps([answer["error"], [spec["name"] for spec in answer["functions"]]]))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every Python file of both pages."""
    folder = tmp_path_factory.mktemp("sources")
    for path, text in SOURCES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("functions/")])
def test_a_function_of_the_page_loads(path: str, sources: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(sources / path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    error, names = json.loads(done.stdout)
    assert error is None
    assert names == ([] if Path(path).name.startswith("_") else [Path(path).stem])


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("tests/")])
def test_the_tests_of_the_page_pass(path: str, sources: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
        cwd=sources,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout
    assert f"{SOURCES[path].count('def test_')} passed" in done.stdout


def test_every_python_block_says_which_file_it_is() -> None:
    blocks = sum(len(page.blocks("python")) for page in PAGES.values())
    assert blocks == len(SOURCES) > 10
    assert all(re.fullmatch(r"(functions|tests)/\w+\.py", path) for path in SOURCES)


# ── links ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_links_lead_somewhere(page: Page) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.prose()):
        file, _, anchor = target.partition("#")
        path = ROOT / "docs" / (file or page.name)
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path.read_text()), target


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ── tables of what may be written ─────────────────────────────────────────────────────────────

DEFAULTS = {
    "a share of the cores": None,
    "80 % of the machine's": None,
    "the Python name": None,
    "none": None,
    "required": dataclasses.MISSING,
    "`Scaling()`": None,
    "`Resources()`": None,
}


def _default(cell: str) -> Any:
    return DEFAULTS[cell] if cell in DEFAULTS else ast.literal_eval(plain(cell))


@pytest.mark.parametrize("kind", [Batching, Retry, Resources, Scaling])
def test_a_table_has_every_field_with_its_default(kind: type) -> None:
    documented = {plain(row[0]): _default(row[1]) for row in GUIDE.table(f"`{kind.__name__}(`")}
    assert documented == {field.name: field.default for field in dataclasses.fields(kind)}


def test_the_table_of_the_decorator_has_every_argument_with_its_default() -> None:
    documented = {plain(row[0]): _default(row[1]) for row in GUIDE.table("`@function(`")}
    parameters = inspect.signature(function).parameters.values()
    assert documented == {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_the_table_of_the_context_has_every_member() -> None:
    documented = {re.match(r"\w+", plain(row[0]))[0] for row in GUIDE.table("`context.`")}  # type: ignore[index]
    members = {name for name in dir(Context.for_test()) if not name.startswith("_")}
    assert documented == members - {"phases", "outputs", "progress_events"}


# ── tables of what may be asked and answered ─────────────────────────────────────────────────


def test_the_table_of_statuses_has_every_status() -> None:
    assert [plain(row[0]) for row in GUIDE.table("status")] == list(model.Status)


def test_the_table_of_events_has_every_event() -> None:
    documented = [name for row in GUIDE.table("event") for name in plain(row[0]).split(", ")]
    assert sorted(documented) == sorted([*model.Status, "progress", "log"])


def test_the_table_of_errors_has_every_status_that_an_answer_may_have() -> None:
    kinds = vars(runtime.errors).values()
    refused = {kind.status for kind in kinds if isinstance(kind, type) and hasattr(kind, "status")}
    failed = {status for status, _, _ in OUTCOMES.values()}
    documented = [int(row[0]) for row in GUIDE.table("answer")]
    assert documented == sorted(refused | failed | {405})


def test_the_table_of_calls_has_every_call_that_is_described(wild: RunningNode) -> None:
    paths = wild.client.get("/openapi.json").json()["paths"]
    described = {
        f"{method.upper()} {path}"
        for path, calls in paths.items()
        for method in calls.keys() & {"get", "put", "post", "delete"}
        if not path.startswith("/invoke/")
    }
    documented = {plain(row[0]).partition("?")[0] for row in GUIDE.table("call")}
    assert described <= {call.replace("s/{function}", "s/{name}") for call in documented}


@pytest.mark.parametrize("call", [plain(row[0]) for row in GUIDE.table("call")])
def test_a_call_of_the_table_is_there(call: str, wild: RunningNode) -> None:
    method, _, path = call.partition(" ")
    given = {"function": "give_picture", "id": "no-such-id", "name": "no-such-name"}
    answer = wild.client.request(method, path.format_map(given))
    assert answer.status_code != 405
    assert "there is nothing at" not in answer.text


def test_the_table_of_commands_has_every_command() -> None:
    documented = [plain(row[0]) for row in GUIDE.table("command")]
    names = [command.__name__ for panel in COMMANDS.values() for command in panel]
    assert documented == [f"lumbre {name.replace('_', '-')}" for name in names]


def test_the_table_of_exit_codes_has_every_code() -> None:
    usage = 2  # click's
    known = [0, FAILED, usage, session.UNFINISHED, session.INTERRUPTED]
    assert [int(row[0]) for row in GUIDE.table("exit code")] == known


# ── tables of what happens ────────────────────────────────────────────────────────────────────

WILD = ROOT / "tests" / "guide_functions"
HAPPENS = {row[0]: row[1:] for row in GUIDE.table("A function …")}
ELSEWHERE = {  # rows that have a test of their own below
    "is cancelled",
    "fails in `setup`",
    "hangs in `setup`",
    "is in a broken file",
    "runs while the node is killed",
    "runs while the node gets SIGTERM",
}


@pytest.fixture(scope="module")
def wild(start_node: NodeFactory) -> RunningNode:
    return start_node(WILD, LUMBRE_SIMULATE_GPU="1")


def record_of(node: RunningNode, answer: httpx.Response) -> dict[str, Any]:
    found = node.client.get(f"/invocations/{answer.headers['Invocation-Id']}")
    return dict(found.json())


@pytest.mark.parametrize("how", [how for how in HAPPENS if how not in ELSEWHERE])
def test_a_function_that_misbehaves_ends_as_the_table_says(how: str, wild: RunningNode) -> None:
    status, answered, retried, _ = HAPPENS[how]
    plainly, patiently = ("overtime",) * 2 if "timeout" in how else ("once", "again")
    for name, attempts in (
        (plainly, 2 if retried == "up to `max_attempts`" else 1),
        (patiently, 1 if retried == "no" else 2),
    ):
        answer = wild.client.post(f"/invoke/{name}", json={"how": how})
        record = record_of(wild, answer)
        assert (f"`{record['status']}`", str(answer.status_code)) == (status, answered)
        assert record["attempt"] == attempts


def test_what_is_worth_knowing_of_them_is_so(wild: RunningNode) -> None:
    def ended(how: str) -> tuple[httpx.Response, dict[str, Any], str]:
        answer = wild.client.post("/invoke/once", json={"how": how})
        record = record_of(wild, answer)
        return answer, record["error"] or {}, wild.client.get(record["links"]["logs"]).text

    answer, _, log = ended("raises an exception")
    assert answer.json()["error"] == {"type": "ValueError", "message": "no such luck"}
    assert "Traceback" in log
    assert ended("raises `InvalidInput`")[0].json()["errors"][0]["pointer"] == "/how"
    _, error, _ = ended("calls `os._exit()`")
    assert (error["ending"], error["last_output"]) == ("exit status 3", "last words\n")
    _, error, _ = ended("crashes with a segmentation fault")
    assert "SIGSEGV" in error["ending"]
    assert "in misbehave" in error["last_output"]
    assert ended("holds more than `Resources(memory=…)`")[1]["type"] == "MemoryLimit"
    log = ended("floods its output")[2]
    assert capture.HEAD + capture.TAIL < len(log) < capture.HEAD + capture.TAIL + 100
    assert ended("returns None")[0].content == ended("returns NaN")[0].content == b"null"
    assert ended("returns what has no JSON form")[1]["type"] == "ResultNotSerializable"
    assert ended("returns 100 MB")[1]["type"] == "ResultTooLarge"
    answer = ended("returns an array or a tensor")[0]
    assert answer.headers["Content-Type"] == "application/x-npy"


def test_a_cancelled_function_ends_as_the_table_says(wild: RunningNode) -> None:
    link, how = "/invocations/cancelled-1", "is cancelled"
    slow = {"Prefer": "respond-async"}
    wild.client.put(f"{link}?function=once", json={"how": how}, headers=slow).raise_for_status()
    eventually(lambda: wild.client.get(link).json()["status"] == "running")
    status, answered, _, _ = HAPPENS[how]
    assert f"`{wild.client.delete(link).json()['status']}`" == status
    assert str(wild.client.get(f"{link}/result").status_code) == answered


@pytest.mark.parametrize("where", ["fails", "hangs"])
def test_what_is_never_set_up_waits_as_the_table_says(where: str, wild: RunningNode) -> None:
    status, answered, _, known = HAPPENS[f"{where} in `setup`"]
    name = f"{where}_in_setup"
    answer = wild.client.post(f"/invoke/{name}", headers={"Prefer": "wait=0"})
    assert (f"`{answer.json()['status']}`", str(answer.status_code)) == (status, answered)

    def waits() -> bool:
        waiting = wild.client.get(f"/functions/{name}").json()["waiting"]["cpu"]
        return bool(waiting) and f"`waiting` says `{waiting['cause']}`" in known

    eventually(waits)
    wild.client.delete(answer.headers["Location"]).raise_for_status()


def test_a_function_in_a_broken_file_is_refused_as_the_table_says(wild: RunningNode) -> None:
    _, answered, _, _ = HAPPENS["is in a broken file"]
    assert str(wild.client.post("/invoke/broken").status_code) == answered
    assert wild.client.post("/invoke/in_a_broken_file").status_code == 404


@pytest.mark.parametrize("what", ["is killed", "gets SIGTERM"])
def test_a_function_outlives_its_node_as_the_table_says(
    what: str, start_node: NodeFactory, tmp_path: Path
) -> None:
    status, answered, _, _ = HAPPENS[f"runs while the node {what}"]
    node = start_node(WILD, LUMBRE_GRACE="0.1")
    link, gate = "/invocations/held-1", tmp_path / "gate"
    url = f"{node.url}{link}?function=hold"
    with ThreadPoolExecutor() as pool:
        caller = pool.submit(httpx.put, url, json={"gate": str(gate)}, timeout=60)
        # A list shows what is in the ledger, and only what was running there counts an attempt.
        running = f"{node.url}/invocations?status=running"
        eventually(lambda: httpx.get(running).json()["items"])
        if what == "is killed":
            node.kill()
            assert isinstance(caller.exception(), httpx.TransportError)
        else:
            assert node.stop() == 0
            assert str(caller.result().status_code) == answered
    gate.touch()
    node.start()
    wait = {"Prefer": "wait=30"}
    assert node.client.get(f"{link}/result", headers=wait).status_code == 200
    record = node.client.get(link).json()
    assert f"`{record['status']}`" == status
    assert record["attempt"] == 2


def test_the_table_of_causes_has_every_cause() -> None:
    tree = ast.parse(inspect.getsource(views.waiting_view))
    told = [
        value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "cause"
    ]
    choices = [c for v in told for c in ([v.body, v.orelse] if isinstance(v, ast.IfExp) else [v])]
    known = {choice.value for choice in choices if isinstance(choice, ast.Constant)}
    assert {plain(row[0]) for row in GUIDE.table("cause")} == known


GIVEN = {
    "a number, string": ["1", "1.5", "'a'", "True", "[1]", "{'a': 1}", "(1, 2)", "{1}", "None"],
    "a pydantic model": [
        *("Pair()", "Point()", "Colour.RED", "datetime.date(2026, 1, 1)", "uuid.UUID(int=1)"),
        *("decimal.Decimal('1.5')", "{'a': [Pair(), decimal.Decimal('1.5')]}"),
    ],
    "NaN": ["float('nan')", "float('-inf')"],
    "a NumPy or torch scalar": ["numpy.float32(1.5)"],
    "a NumPy array": ["numpy.ones((2, 3))"],
    "an array or tensor inside": ["{'a': numpy.arange(3)}"],
    "`bytes` |": ["b'raw'"],
    "`Blob": ["Blob(b'1,2', 'text/csv')"],
}


@pytest.mark.parametrize("row", GIVEN)
def test_what_a_function_returns_comes_as_the_table_says(row: str, wild: RunningNode) -> None:
    (line,) = re.findall(rf"^\| ({re.escape(row)}.*) \|$", GUIDE.text, re.MULTILINE)
    promised = line.rpartition(" | ")[2]
    for code in GIVEN[row]:
        answer = wild.client.post("/invoke/give", json={"code": code})
        assert answer.status_code == 200, (code, answer.text)
        kind = answer.headers["Content-Type"]
        if kind == "application/json":
            assert "JSON" in promised or promised.startswith("`null`"), (code, promised)
        elif row == "`Blob":
            assert kind == "text/csv"
        else:
            assert f"`{kind}`" in promised, (code, promised)


def test_what_a_function_annotates_comes_as_the_table_says(wild: RunningNode) -> None:
    answer = wild.client.post("/invoke/give_picture")
    assert (answer.headers["Content-Type"], answer.content) == ("image/png", b"png")
    assert [row for row in GUIDE.table("A function returns") if "image/png" in row[1]]


def test_the_table_of_headers_has_every_header(wild: RunningNode) -> None:
    trace = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    slow = {"Prefer": "respond-async"}
    answers = [
        wild.client.post("/invoke/where", headers=trace),
        wild.client.post("/invoke/where", headers=slow),
    ]
    seen = {name.lower() for answer in answers for name in answer.headers}
    documented = {plain(row[0]).lower() for row in GUIDE.table("header")}
    assert documented == seen - {"date", "content-type", "content-length"}


# ── tables of what there is to a node ─────────────────────────────────────────────────────────


def test_the_table_of_settings_is_made_of_the_settings() -> None:
    def told(value: Any) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        return str(value) or "empty"

    known = [
        [f"`{name}`", told(field.default), field.description]
        for name, field in Settings.model_fields.items()
    ]
    assert GUIDE.table("setting") == known


def whole(text: str) -> str:
    """What a node tells once it has made its first audit; nothing before."""
    return text if "lumbre_audit_problems" in text else ""


def test_the_table_of_metrics_has_every_metric_with_its_labels(wild: RunningNode) -> None:
    wild.client.post("/invoke/give_picture").raise_for_status()
    text = eventually(lambda: whole(wild.client.get("/metrics").text))
    known = {}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        (labels, *_) = re.findall(rf"^{name}(?:_count)?(?:{{(.*)}})? ", text, re.MULTILINE)
        more = set(re.findall(r"(\w+)=", labels)) - {"function", "device"}
        known[name] = (kind, ", ".join(more) if labels else "none at all")
    documented = {plain(row[0]): (row[1], plain(row[2])) for row in GUIDE.table("metric")}
    assert documented == known


def test_the_table_of_the_state_folder_has_every_entry(wild: RunningNode) -> None:
    documented = {plain(row[0]) for row in GUIDE.table("entry")}
    there = {re.sub(r"-(wal|shm)$", "", entry.name) for entry in wild.state.iterdir()}
    assert documented == there


def test_the_table_of_limits_has_the_limits_that_hold() -> None:
    def size(limit: int) -> str:
        return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"

    def default(setting: str) -> Any:
        return Settings.model_fields[setting].default

    assert default("max_body") == default("max_result")
    assert stories.MAX_EVENTS == views.MAX_LIMIT
    assert [row[0] for row in GUIDE.table("limit")] == [
        size(default("max_body")),
        size(model.INLINE_LIMIT),
        str(intake.MAX_DEPTH),
        str(intake.MAX_FAULTS),
        f"{default('queue_limit'):,}",
        f"{default('max_wait')} s",
        f"{size(capture.HEAD)} + {size(capture.TAIL)}",
        f"{failure.MAX_MESSAGE:,}",
        f"{stories.MAX_EVENTS:,}",
        f"{zygote.LOAD_TIMEOUT:g} s",
        str(pool.GIVEN_BACK_LIMIT),
    ]
