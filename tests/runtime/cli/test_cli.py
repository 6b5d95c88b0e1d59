"""The command line against a real node, as people and scripts use it."""

import ast
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runtime.cli import COMMANDS, app, calls
from runtime.model import Status
from runtime.settings import Settings
from tests.support import ROOT, NodeFactory, RunningNode, eventually

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LUMBRE_")}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
NOBODY = "http://127.0.0.1:9"  # the discard port, which nothing serves
UNKNOWN = "0" * 32

FUNCTIONS = '''
import time
from typing import Annotated

from pydantic import Field

from runtime import Context, MediaType, Scaling, function


@function
def greet(
    name: Annotated[str, Field(min_length=1, description="whom")] = "world",
    times: Annotated[int, Field(ge=1, le=9)] = 1,
) -> str:
    """Greet somebody.

    As often as you like.
    """
    print("greeting", name)
    return "Hello " * times + name


@function
def count(context: Context, to: int = 3) -> int:
    """Count up to a number."""
    for k in range(1, to + 1):
        context.progress(k / to, step=k)
        print("at", k, flush=True)
        yield k


@function
def reverse(data: Annotated[bytes, MediaType("image/png")], skip: int = 0) -> bytes:
    """Turn bytes round."""
    return data[skip:][::-1]


@function
def fail(why: str) -> int:
    """Raise."""
    raise ValueError(why)


@function(scaling=Scaling(target=1, max_replicas=4))
def nap(seconds: float = 60) -> str:
    """Sleep, and say so."""
    print("sleeping", flush=True)
    time.sleep(seconds)
    return "awake"
'''


class Result:
    """What a command did; it must not have ended by a traceback."""

    def __init__(self, code: int, stdout: bytes, stderr: str) -> None:
        self.code = code
        self.bytes = stdout
        self.stdout = stdout.decode(errors="replace")
        self.stderr = stderr

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def lumbre(
    *arguments: str,
    url: str | None = None,
    stdin: bytes | None = None,
    code: int = 0,
    env: dict[str, str] | None = None,
) -> Result:
    """Run a command in this process, and see that it ends with `code`."""
    given: dict[str, str | None] = {"LUMBRE_URL": url, **(env or {})}
    done = CliRunner().invoke(app, arguments, input=stdin, env=given, prog_name="lumbre")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return Result(done.exit_code, done.stdout_bytes, done.stderr)


def name_of(command: Callable[..., None]) -> str:
    return command.__name__.replace("_", "-")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runtime", *arguments]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of functions, one of which is broken."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "tiny.py").write_text(FUNCTIONS)
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    return folder


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, folder: Path) -> Iterator[RunningNode]:
    node = start_node(folder, LUMBRE_GRACE="1")
    yield node
    assert node.stop() == 0


@pytest.fixture
def url(node: RunningNode) -> str:
    return node.url


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder, without the variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LUMBRE_")]:
        monkeypatch.delenv(name)


def running_naps(url: str) -> list[str]:
    query = ("--function", "nap", "--status", "running", "--json")
    return [item["id"] for item in lumbre("invocations", *query, url=url).json["items"]]


def start_nap(url: str) -> str:
    """The id of an invocation that runs until it is cancelled."""
    id = lumbre("invoke", "nap", "--async", url=url).stdout.strip()
    eventually(lambda: id in running_naps(url))
    return id


# ── help and usage ────────────────────────────────────────────────────────────────────────────


def test_lumbre_alone_shows_help_with_every_command() -> None:
    shown = lumbre().stdout
    for commands in COMMANDS.values():
        for each in commands:
            assert f" {name_of(each)} " in shown
    assert "lumbre new hello" in shown


@pytest.mark.parametrize("name", [name_of(c) for commands in COMMANDS.values() for c in commands])
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    shown = lumbre(name, "--help").stdout
    assert "Examples:" in shown
    assert re.search(rf"lumbre {name}\b", shown.partition("Examples:")[2])


def test_help_does_not_import_what_only_a_node_needs() -> None:
    code = (
        "import sys\nfrom runtime.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print([m for m in ('uvicorn', 'sqlalchemy', 'torch', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_up_has_a_flag_for_every_setting() -> None:
    shown = lumbre("up", "--help", env={"COLUMNS": "200"}).stdout
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in shown


def test_an_older_python_gets_one_clear_line() -> None:
    code = "import sys\nsys.version_info = (3, 9, 18)\nimport runtime"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        "lumbre needs Python 3.11 or newer, and this is 3.9:"
        " make a virtual environment of a newer one\n"
    )


def test_the_version_check_is_readable_to_an_older_python() -> None:
    source = (ROOT / "runtime" / "__init__.py").read_text()
    ast.parse(source, feature_version=(3, 7))


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_version_names_lumbre_and_python(arguments: tuple[str, ...]) -> None:
    assert re.fullmatch(r"lumbre .+, Python 3\.\d+\.\S+\n", lumbre(*arguments).stdout)


def test_version_is_there_as_json() -> None:
    assert set(lumbre("version", "--json").json) == {"lumbre", "python"}


def test_a_command_that_does_not_exist_is_wrong_usage() -> None:
    assert "No such command" in lumbre("foo", code=2).stderr


# ── no node ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        ("functions",),
        ("describe", "greet"),
        ("invoke", "greet"),
        ("invoke", "greet", "--follow"),
        ("invocations",),
        ("show", UNKNOWN),
        ("result", UNKNOWN),
        ("logs", UNKNOWN),
        ("cancel", UNKNOWN),
        ("replay", UNKNOWN),
        ("audit",),
    ],
)
def test_where_no_node_runs_a_command_says_so_in_one_line(arguments: tuple[str, ...]) -> None:
    result = lumbre(*arguments, url=NOBODY, code=1)
    assert result.stdout == ""
    assert result.stderr == (f"lumbre: no lumbre answers at {NOBODY}: start one with `lumbre up`\n")


def test_the_url_is_that_of_the_settings() -> None:
    assert "http://127.0.0.1:9:" in lumbre("functions", env={"LUMBRE_PORT": "9"}, code=1).stderr
    everywhere = {"LUMBRE_PORT": "9", "LUMBRE_HOST": "0.0.0.0"}
    assert "http://127.0.0.1:9:" in lumbre("functions", env=everywhere, code=1).stderr
    assert (
        "http://[::1]:9:"
        in lumbre("functions", env=everywhere | {"LUMBRE_HOST": "::"}, code=1).stderr
    )
    assert "say which with --url" in lumbre("functions", env={"LUMBRE_PORT": "0"}, code=1).stderr


def test_a_url_without_a_scheme_is_refused() -> None:
    stderr = lumbre("functions", "--url", "localhost:8080", code=1).stderr
    assert stderr == "lumbre: 'localhost:8080' is no URL of a node: write http://HOST:PORT\n"


class Stranger(BaseHTTPRequestHandler):
    """A server that is not ours; one of ours that vanishes after a 202; one that is very quick."""

    def do_GET(self) -> None:
        id = self.path.rpartition("/")[2]
        if self.path.startswith("/functions"):
            self._say(200, "text/html", b"<h1>Hello</h1>")
        elif len(id) == 32:
            self._say(200, "application/json", b'{"id": "%s", "status": "failed"}' % id.encode())
        elif self.path.endswith("/result"):
            self.close_connection = True  # and not a byte of an answer
        else:
            self._say(404, "text/plain", b"what?")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if "function=over" in self.path:
            self._say(500, "application/problem+json", b'{"type": "lumbre:failed"}')
        else:
            self._say(202, "application/json", b'{"status": "queued"}')

    def _say(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        if status == 500:
            self.send_header("Invocation-Id", self.path.rpartition("/")[2].partition("?")[0])
            self.send_header("Invocation-Attempt", "1")
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("functions",), "200 text/html"), (("audit",), "404 text/plain")],
)
def test_another_server_is_told_from_a_node(
    stranger: str, arguments: tuple[str, ...], said: str
) -> None:
    stderr = lumbre(*arguments, url=stranger, code=1).stderr
    assert f"what answers at {stranger} is no lumbre (it said {said})" in stderr
    assert stderr.count("\n") == 1


def test_a_node_that_vanishes_leaves_the_id_to_ask_again_with(stranger: str) -> None:
    stderr = lumbre("invoke", "greet", url=stranger, code=1).stderr
    assert f"the node at {stranger} stopped answering" in stderr
    assert re.search(r"ask with `lumbre result [0-9a-f]{32}`\n$", stderr)


# ── up ────────────────────────────────────────────────────────────────────────────────────────


def test_up_says_what_it_serves_and_what_is_broken(node: RunningNode, folder: Path) -> None:
    said = node.log.read_text()
    assert f"broken: {folder / 'broken.py'}: ModuleNotFoundError: " in said
    assert "functions: count, fail, greet, nap, reverse\n" in said


@pytest.mark.parametrize(
    ("arguments", "env", "line"),
    [
        (("--port", "70000"), {}, "LUMBRE_PORT=70000: "),
        ((), {"LUMBRE_GRACE": "soon"}, "LUMBRE_GRACE='soon': "),
        (("--log-format", "xml"), {}, "LUMBRE_LOG_FORMAT='xml': "),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(
    arguments: tuple[str, ...], env: dict[str, str], line: str
) -> None:
    stderr = lumbre("up", *arguments, code=1, env=env).stderr
    assert stderr.startswith(f"lumbre: {line}")
    assert stderr.count("\n") == 1


def test_a_broken_settings_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lumbre.toml").write_text("port = \n")
    stderr = lumbre("up", code=1).stderr
    assert stderr.startswith("lumbre: lumbre.toml cannot be read: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--state", "STATE"), "another lumbre uses the state folder"),
        (("--ledger-url", "mysql://h/d"), "the ledger cannot live in 'mysql'"),
        (("--host", "0.0.0.0"), "LUMBRE_HOST=0.0.0.0"),
    ],
)
def test_a_node_that_cannot_start_says_why_in_one_line(
    node: RunningNode, flags: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    given = [str(node.state) if flag == "STATE" else flag for flag in flags]
    done = subprocess.run(
        command("up", "--port", "0", *given),
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"lumbre: {line}")
    assert done.stderr.count("\n") == 1


# ── invoke ────────────────────────────────────────────────────────────────────────────────────


def test_invoke_prints_the_result_and_beside_it_where_the_time_went(url: str) -> None:
    result = lumbre("invoke", "greet", "name=Ann", "times=2", url=url)
    assert result.stdout == '"Hello Hello Ann"\n'
    assert re.fullmatch(
        r"succeeded on cpu · attempt 1 · \S+ m?s \(queue .+, start .+, run .+\) · [0-9a-f]{32}\n",
        result.stderr,
    )


def test_invoke_as_json_prints_the_raw_result_and_nothing_else(url: str) -> None:
    result = lumbre("invoke", "count", "to=2", "--json", url=url)
    assert (result.bytes, result.stderr) == (b"2\n", "")


def test_parameters_may_come_from_a_file_and_from_standard_input(url: str, tmp_path: Path) -> None:
    (tmp_path / "given.json").write_text('{"name": "Bo", "times": 3}')
    assert lumbre("invoke", "greet", "@given.json", "times=1", url=url).stdout == '"Hello Bo"\n'
    given = b'{"name": "Cy"}'
    assert lumbre("invoke", "greet", "@-", url=url, stdin=given).stdout == '"Hello Cy"\n'


def test_a_file_is_uploaded_and_its_result_kept_in_another(url: str, tmp_path: Path) -> None:
    picture = bytes(range(256)) * 2000  # over what travels inline
    (tmp_path / "a.png").write_bytes(picture)
    lumbre("invoke", "reverse", "data=@a.png", "skip=3", "-o", "b.png", url=url)
    assert (tmp_path / "b.png").read_bytes() == picture[3:][::-1]


def test_a_result_that_cannot_be_written_is_not_lost(url: str) -> None:
    stderr = lumbre("invoke", "greet", "--output", "/dev/full", url=url, code=1).stderr
    assert "lumbre: /dev/full cannot be written (No space left on device)" in stderr
    found = re.search(r"`lumbre result ([0-9a-f]{32}) --output FILE`\n$", stderr)
    assert found
    assert lumbre("result", found[1], url=url).stdout == '"Hello world"\n'


def test_bytes_are_piped_in_and_out_as_they_are(url: str) -> None:
    result = lumbre("invoke", "reverse", "data=@-", url=url, stdin=b"\x00\xff\n")
    assert result.bytes == b"\n\xff\x00"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("n2048",), "'n2048' is no key=value"),
        (("=3",), "'=3' is no key=value"),
        (("data=@nowhere.png",), "data=@nowhere.png: the file cannot be read"),
        (("@nowhere.json",), "@nowhere.json: the file cannot be read"),
        (("--output", "no/such/folder/x"), "is no place for a file"),
        (("--async", "--follow"), "one of --async, --follow and --wait"),
        (("--follow", "--wait", "1"), "one of --async, --follow and --wait"),
    ],
)
def test_wrong_usage_of_invoke_exits_2_and_says_what_is_wrong(
    url: str, arguments: tuple[str, ...], said: str
) -> None:
    shown = lumbre("invoke", "greet", *arguments, url=url, code=2, env={"COLUMNS": "200"}).stderr
    assert said in shown


def test_a_wrong_parameter_is_named_with_every_fault(url: str) -> None:
    stderr = lumbre("invoke", "greet", "times=10", "to=3", url=url, code=1).stderr
    title, *faults = stderr.splitlines()
    assert title == "Invalid input (422)"
    assert faults[0] == "  times: 10 is greater than the maximum of 9"
    assert re.match(r"  to: .*greet.*name, times", faults[1])


def test_a_function_that_raises_gives_its_message_and_the_way_to_its_output(url: str) -> None:
    title, detail, summary = lumbre(
        "invoke", "fail", "why=no luck", url=url, code=1
    ).stderr.splitlines()
    assert title == "The function raised (500)"
    assert detail.startswith("  ValueError: no luck")
    assert re.match(r"failed on cpu · attempt 1 · .*`lumbre logs [0-9a-f]{32}`", summary)


def test_a_failure_as_json_is_the_problem_on_standard_output(url: str) -> None:
    result = lumbre("invoke", "fail", "why=no", "--json", url=url, code=1)
    assert result.json["error"] == {"type": "ValueError", "message": "no"}
    assert result.stderr == ""


def test_a_function_that_does_not_exist_is_answered_with_the_nearest(url: str) -> None:
    assert "did you mean 'greet'?" in lumbre("invoke", "gret", url=url, code=1).stderr


def test_a_device_that_is_not_here_is_refused(url: str) -> None:
    stderr = lumbre("invoke", "greet", "--device", "gpu", url=url, code=1).stderr
    assert "greet runs on cpu only" in stderr


def test_an_async_invocation_prints_its_id_and_its_result_is_fetched_later(url: str) -> None:
    queued = lumbre("invoke", "greet", "name=Di", "--async", url=url)
    id = queued.stdout.strip()
    assert re.fullmatch("[0-9a-f]{32}", id)
    assert f"lumbre result {id}" in queued.stderr
    assert lumbre("result", id, "--wait", "30", url=url).stdout == '"Hello Di"\n'


def test_an_async_invocation_as_json_is_its_record(url: str) -> None:
    view = lumbre("invoke", "greet", "--async", "--json", url=url).json
    assert (view["function"], view["status"] in set(Status)) == ("greet", True)


def test_an_async_invocation_that_ends_at_once_is_still_told_by_its_id(stranger: str) -> None:
    result = lumbre("invoke", "over", "--async", url=stranger)
    assert re.fullmatch("[0-9a-f]{32}\n", result.stdout)
    assert result.stderr.startswith("failed: ")


def test_after_wait_seconds_an_unfinished_invocation_exits_3(url: str) -> None:
    result = lumbre("invoke", "nap", "--wait", "1", url=url, code=3)
    assert result.stdout == ""
    found = re.search(r"still: `lumbre result ([0-9a-f]{32})` asks again", result.stderr)
    assert found
    record = lumbre("result", found[1], "--json", url=url, code=3).json
    assert record["status"] == "running"
    lumbre("cancel", found[1], url=url)
    assert "Cancelled (409)" in lumbre("result", found[1], url=url, code=1).stderr


def test_an_interrupted_caller_is_told_how_to_cancel(url: str, tmp_path: Path) -> None:
    before = set(running_naps(url))
    with subprocess.Popen(
        command("invoke", "nap", "--url", url),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        (id,) = eventually(lambda: set(running_naps(url)) - before)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == (
        f"invocation {id} goes on: `lumbre cancel {id}` stops it,"
        f" `lumbre result {id}` asks for its outcome\n"
    )
    assert id in running_naps(url)
    lumbre("cancel", id, url=url)


# ── following ─────────────────────────────────────────────────────────────────────────────────


def test_follow_shows_progress_output_and_yielded_values_and_then_the_result(url: str) -> None:
    result = lumbre("invoke", "count", "to=4", "--follow", url=url)
    assert result.stdout == "4\n"
    lines = result.stderr.splitlines()
    assert lines[0] == "count queued on cpu"
    for k in range(1, 5):
        assert f"{k * 25}% step={k}" in lines
        assert f"at {k}" in lines
        assert f"→ {k}" in lines
    assert lines[-1].startswith("succeeded on cpu")


def test_follow_as_json_is_one_event_a_line(url: str) -> None:
    lines = lumbre("invoke", "count", "to=2", "--follow", "--json", url=url).stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "queued"
    values = [e["data"]["value"] for e in events if "value" in e["data"]]
    assert values == [1, 2]
    assert (events[-1]["event"], events[-1]["data"]["result"]) == ("succeeded", 2)


def test_following_what_fails_exits_1(url: str) -> None:
    stderr = lumbre("invoke", "fail", "why=x", "--follow", url=url, code=1).stderr
    assert "The function raised (500)" in stderr
    shown = lumbre("invoke", "fail", "why=x", "--follow", "--json", url=url, code=1).stdout
    assert json.loads(shown.splitlines()[-1])["event"] == "failed"


def test_following_what_is_not_accepted_exits_1(url: str) -> None:
    stderr = lumbre("invoke", "greet", "times=0", "--follow", url=url, code=1).stderr
    assert "Invalid input (422)" in stderr


def on_terminal(*arguments: str) -> tuple[int, str]:
    """Run a command whose output and error are a terminal; its exit code and what that showed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(*arguments), env=ENVIRONMENT, stdout=theirs, stderr=theirs) as p:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            shown += piece
    os.close(ours)
    return p.returncode, shown.decode()


def test_binary_is_not_printed_to_a_terminal(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x1b[31m")
    code, shown = on_terminal("invoke", "reverse", "data=@a.png", "--url", url)
    assert code == 1
    found = re.search(r"`lumbre result ([0-9a-f]{32}) --output FILE` keeps it", shown)
    assert found
    assert "\x1b[31m"[::-1] not in shown
    lumbre("result", found[1], "--output", "b.png", url=url)
    assert (tmp_path / "b.png").read_bytes() == b"\x1b[31m"[::-1]


def test_a_terminal_gets_a_progress_bar_and_colours(url: str) -> None:
    code, shown = on_terminal("invoke", "count", "to=2", "--follow", "--url", url)
    assert code == 0
    assert "━" in shown
    assert re.search(r"100%|50%", shown)
    assert "\x1b[" in shown


# ── functions ─────────────────────────────────────────────────────────────────────────────────


def test_functions_are_listed_with_the_broken_ones(url: str) -> None:
    lumbre("invoke", "greet", url=url)
    lines = lumbre("functions", url=url).stdout.splitlines()
    assert lines[0].split() == [
        *("function", "device", "replicas", "backlog", "p50", "p95", "waiting", "description")
    ]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert re.search(r"cpu +\d.* \S+ m?s +\S+ m?s +Greet somebody\.", rows["greet"])
    assert "broken: ModuleNotFoundError: No module named 'no_such_module" in rows["broken"]


def test_functions_as_json_are_what_the_api_gives(url: str) -> None:
    page = lumbre("functions", "--json", url=url).json
    assert page["next"] is None
    assert {item["name"] for item in page["items"]} == {
        *("broken", "count", "fail", "greet", "nap", "reverse")
    }


def test_a_node_without_functions_says_how_to_make_one(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    node = start_node(tmp_path)
    result = lumbre("functions", url=node.url)
    assert result.stdout == ""
    assert result.stderr == "no functions yet: `lumbre new NAME` makes one\n"
    assert lumbre("invocations", url=node.url).stderr == "no invocations\n"
    assert node.stop() == 0


def test_describe_tells_parameters_bounds_scaling_and_a_call_that_works(url: str) -> None:
    shown = lumbre("describe", "greet", url=url).stdout
    assert "As often as you like." in shown
    assert re.search(r"name +string .* at least 1 characters +whom", shown)
    assert re.search(r"times +integer .* ≥ 1, ≤ 9", shown)
    curl = shown.split("curl ", 1)[1].splitlines()[0]
    assert curl.startswith(f"{url}/invoke/greet -d '")
    own = re.search(r"^  lumbre (invoke greet \S+)$", shown, re.M)
    assert own
    assert lumbre(*own[1].split(), url=url).stdout.startswith('"Hello ')


def test_describe_of_a_broken_file_gives_its_traceback(url: str) -> None:
    shown = lumbre("describe", "broken", url=url, code=1).stdout
    assert "ModuleNotFoundError" in shown
    assert "line 1" in shown


def test_describe_as_json_has_the_schema(url: str) -> None:
    view = lumbre("describe", "greet", "--json", url=url).json
    assert set(view["input_schema"]["properties"]) == {"name", "times"}


# ── invocations ───────────────────────────────────────────────────────────────────────────────


def test_invocations_are_listed_newest_first_and_filtered(url: str) -> None:
    lumbre("invoke", "fail", "why=a", url=url, code=1)
    lumbre("invoke", "fail", "why=b", url=url, code=1)
    query = ("--function", "fail", "--status", "failed", "--device", "cpu", "--since", "1h")
    lines = lumbre("invocations", *query, "--limit", "2", url=url).stdout.splitlines()
    assert lines[0].split() == ["id", "created", "device", "took", "status", "function", "error"]
    assert ["ValueError: b" in lines[1], "ValueError: a" in lines[2]] == [True, True]
    assert len(lines) == 3
    assert lumbre("invocations", "--since", "2100-01-01T00:00:00Z", url=url).stdout.count("\n") == 1


def test_all_invocations_are_found_page_after_page(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        lumbre("invoke", "greet", f"name={name}", url=url)
    monkeypatch.setattr(calls, "MAX_PAGE", 2)
    first = lumbre("invocations", "--limit", "2", "--json", url=url).json
    assert len(first["items"]) == 2
    assert first["next"]
    every = lumbre("invocations", "--all", "--json", url=url).json
    ids = [item["id"] for item in every["items"]]
    assert len(ids) == len(set(ids)) >= 3
    assert ids == sorted(ids, reverse=True)
    assert every["next"] is None
    assert "--all lists them" in lumbre("invocations", "--limit", "1", url=url).stderr


def test_a_filter_that_does_not_exist_is_explained(url: str) -> None:
    assert (
        "one of queued, running"
        in lumbre("invocations", "--status", "lost", url=url, code=1).stderr
    )


def test_show_tells_all_of_an_invocation(url: str) -> None:
    id = lumbre("invoke", "greet", "name=Ed", "--async", url=url).stdout.strip()
    lumbre("result", id, "--wait", "30", url=url)
    shown = lumbre("show", id, url=url).stdout
    for part in (id, "greet (version ", "succeeded", "name = 'Ed'", "cpu (auto)", "queue "):
        assert part in shown
    view = lumbre("show", id, "--json", url=url).json
    assert view["input"]["parameters"] == {"name": "Ed"}


def test_what_there_is_no_invocation_of_is_said(url: str) -> None:
    for name in ("show", "logs", "result", "replay", "cancel"):
        assert "there is no invocation" in lumbre(name, UNKNOWN, url=url, code=1).stderr


def test_logs_are_what_the_function_wrote(url: str) -> None:
    id = lumbre("invoke", "greet", "name=Flo", "--async", url=url).stdout.strip()
    lumbre("result", id, "--wait", "30", url=url)
    for flags in ((), ("--follow",)):
        assert lumbre("logs", id, *flags, url=url).stdout == "greeting Flo\n"
        given = lumbre("logs", id, *flags, "--json", url=url).json
        assert given == {"id": id, "text": "greeting Flo\n"}


def test_logs_are_followed_until_the_invocation_is_over(url: str) -> None:
    id = lumbre("invoke", "nap", "seconds=0.5", "--async", url=url).stdout.strip()
    assert lumbre("logs", id, "--follow", url=url).stdout == "sleeping\n"
    assert lumbre("show", id, "--json", url=url).json["status"] == "succeeded"


def test_cancel_stops_each_and_says_which_it_could_not(url: str) -> None:
    one, two = start_nap(url), start_nap(url)
    result = lumbre("cancel", one, UNKNOWN, two, url=url, code=1)
    assert result.stdout == f"{one} cancelled\n{two} cancelled\n"
    assert "there is no invocation" in result.stderr
    assert lumbre("show", two, "--json", url=url).json["status"] == "cancelled"


def test_cancel_as_json_is_the_record(url: str) -> None:
    id = start_nap(url)
    assert lumbre("cancel", id, "--json", url=url).json["status"] == "cancelled"


def test_replay_runs_the_same_input_again(url: str) -> None:
    id = lumbre("invoke", "greet", "name=Gus", "--async", url=url).stdout.strip()
    lumbre("result", id, "--wait", "30", url=url)
    again = lumbre("replay", id, url=url)
    assert again.stdout == '"Hello Gus"\n'
    new = again.stderr.split()[-1]
    assert new != id
    assert re.search(rf"replay of +{id}", lumbre("show", new, url=url).stdout)
    queued = lumbre("replay", id, "--async", "--json", url=url).json
    assert queued["links"]["replayed_from"] == f"/invocations/{id}"


# ── settings ──────────────────────────────────────────────────────────────────────────────────


def test_settings_are_printed_with_their_origin(tmp_path: Path) -> None:
    (tmp_path / "lumbre.toml").write_text("grace = 5\n")
    shown = lumbre("settings", env={"LUMBRE_PORT": "9000"}).stdout
    assert re.search(r"^port +9000 +LUMBRE_PORT ", shown, re.M)
    assert re.search(r"^grace +5.0 +lumbre.toml ", shown, re.M)
    assert re.search(r"^host +127.0.0.1 +default ", shown, re.M)
    given = lumbre("settings", "--json").json
    assert set(given) == set(Settings.model_fields)
    assert given["host"] == {"value": "127.0.0.1", "origin": "default"}


def test_settings_never_show_a_password() -> None:
    secret = "p@ss:w/rd"
    for flags in ((), ("--json",)):
        shown = lumbre(
            "settings", *flags, env={"LUMBRE_LEDGER_URL": f"postgresql://me:{secret}@host/db"}
        )
        assert "postgresql://me:***@host/db" in shown.stdout
        assert "w/rd" not in shown.stdout
