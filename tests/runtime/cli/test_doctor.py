"""`lumbre doctor`, as people and scripts use it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.servers import RabbitServer
from runtime import migrate
from tests.support import ROOT, NodeFactory

QUICK = '''
from runtime import function


@function(timeout={timeout})
def quick() -> int:
    """Be quick."""
    return 1
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: one function, and no variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LUMBRE_")]:
        monkeypatch.delenv(name)
    write(tmp_path)
    return tmp_path


def write(folder: Path, name: str = "quick", timeout: float = 10) -> None:
    (folder / "functions").mkdir(exist_ok=True)
    (folder / "functions" / f"{name}.py").write_text(QUICK.format(timeout=timeout))


def doctor(
    *arguments: str, code: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, and see that it ends with `code`, and in time."""
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "doctor", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LUMBRE_PORT": "0", **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def line_of(subject: str, output: str) -> str:
    (line,) = [line for line in output.splitlines() if re.match(rf"\w+ +{subject} ", line)]
    return line


def test_a_laptop_is_well_and_nothing_is_written(folder: Path) -> None:
    shown = doctor().stdout
    for subject in ("versions", "broker", "ledger", "blobs", "state", "functions", "gpu", "port"):
        assert re.search(rf"^(ok|warning) +{subject} ", shown, re.M), shown
    assert "1 can be served: quick" in shown
    assert [each.name for each in folder.iterdir()] == ["functions"]


def test_everything_over_a_real_rabbitmq_and_postgresql(
    rabbit: RabbitServer, rabbit_url: str, postgres_url: str
) -> None:
    there = {
        "LUMBRE_BROKER_URL": rabbit_url,
        "LUMBRE_MANAGEMENT_URL": rabbit.management_url,
        "LUMBRE_LEDGER_URL": postgres_url,
    }
    shown = doctor(code=1, env=there).stdout
    assert "run: lumbre migrate" in line_of("ledger", shown)
    migrate.upgrade(postgres_url)
    found = json.loads(doctor("--json", env=there).stdout)
    assert found["healthy"]
    states = {each["subject"]: each["state"] for each in found["findings"]}
    for subject in ("broker", "management", "ledger", "functions", "timeouts"):
        assert states[subject] == "ok", found


def test_what_is_broken_is_named_on_one_line_each(folder: Path) -> None:
    (folder / "functions" / "wrong.py").write_text("import no_such_module_anywhere\n")
    write(folder, "slow", timeout=5000)
    done = doctor(
        "--broker-url",
        "amqp://me:s3cret@127.0.0.1:9/",
        "--ledger-url",
        "postgresql://me:s3cret@127.0.0.1:9/x",
        "--blobs-url",
        "no-such-protocol://me:s3cret@host/x",
        code=1,
    )
    shown = done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert line_of("broker", shown).startswith("problem")
    assert line_of("ledger", shown).startswith("problem")
    assert "Protocol not known" in line_of("blobs", shown)
    assert "wrong.py: ModuleNotFoundError" in shown
    assert "both define 'quick'" in shown
    assert re.search(r"^\d problems( and \d warnings?)?$", shown, re.M)


def test_a_function_that_outlasts_the_consumer_timeout_is_a_problem_and_the_grace_a_warning(
    folder: Path,
) -> None:
    write(folder, timeout=5000)
    shown = doctor("--broker-url", "amqp://127.0.0.1:9/", code=1).stdout
    lines = [line for line in shown.splitlines() if re.match(r"\w+ +timeouts ", line)]
    assert [line.split()[0] for line in lines] == ["problem", "warning"]
    assert "LUMBRE_CONSUMER_TIMEOUT=5560" in lines[0]
    assert "LUMBRE_GRACE=5000 (now 30 s)" in lines[1]


@pytest.fixture
def mute() -> Iterator[str]:
    """The host and port of somebody who listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_nothing_that_never_answers_holds_it_up(mute: str) -> None:
    began = time.monotonic()
    shown = doctor(
        *("--broker-url", f"amqp://me:s3cret@{mute}/", "--management-url", f"http://{mute}"),
        *("--ledger-url", f"postgresql://me:s3cret@{mute}/x"),
        *("--blobs-url", f"ftp://me:s3cret@{mute}/x"),  # which hangs in a thread
        code=1,
    ).stdout
    assert time.monotonic() - began < 40  # with the imports of torch and of functions
    for subject in ("broker", "ledger", "blobs"):
        assert "no answer within 5 s" in line_of(subject, shown)
    assert "does not answer" in line_of("management", shown)
    assert "s3cret" not in shown
    assert shown.endswith("4 problems\n")


def test_a_running_gateway_has_its_port(start_node: NodeFactory, folder: Path) -> None:
    node = start_node(folder / "functions")
    port = node.url.rpartition(":")[2]
    line = line_of("port", doctor("--port", port).stdout)
    assert line.startswith("ok") and f"a gateway answers at {node.url}" in line


def test_a_setting_that_cannot_be_is_refused_in_one_line() -> None:
    done = doctor("--grace", "-1", code=1)
    assert done.stderr.startswith("lumbre: LUMBRE_GRACE=-1.0: ")
    assert done.stderr.count("\n") == 1


def test_torch_is_not_imported_by_the_command_itself() -> None:
    code = (
        "import sys\nfrom runtime.cli import app\n"
        "app(['doctor'], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LUMBRE_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
    assert done.stderr == ""
