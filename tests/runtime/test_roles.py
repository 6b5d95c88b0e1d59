"""`lumbre console`: a process that serves the console and the API, over RabbitMQ."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from runtime.errors import ConfigurationError
from runtime.roles import run_console
from runtime.settings import Settings, read_settings
from tests.runtime.gateway.asking import ASYNC, FUNCTIONS, problem
from tests.support import ROOT, START_TIMEOUT, eventually


@contextmanager
def console(folder: Path, broker_url: str, *flags: str) -> Iterator[httpx.Client]:
    """A console that runs, and a client of it; it must end well."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "LUMBRE_BROKER_URL": broker_url,
        "LUMBRE_FUNCTIONS": str(FUNCTIONS),
        "LUMBRE_DEVICES": "cpu",
    }
    log = folder / "console.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", "console", "--port", "0", *flags],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )

    def url() -> str:
        assert process.poll() is None, log.read_text()
        found = re.search(r"lumbre console is up on (http://\S+)", log.read_text())
        return found[1] if found else ""

    try:
        with httpx.Client(base_url=eventually(url, START_TIMEOUT), timeout=60) as client:
            yield client
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_read_only_console_shows_and_refuses_everything_else(
    rabbit_url: str, tmp_path: Path
) -> None:
    with console(tmp_path, rabbit_url, "--read-only") as client:
        assert client.get("/readyz").status_code == 200
        assert "add" in [item["name"] for item in client.get("/functions").json()["items"]]
        for method, path in (
            ("POST", "/invoke/add"),
            ("PUT", "/invocations/one?function=add"),
            ("POST", "/batches?function=add"),
            ("POST", "/audit/repair"),
            ("DELETE", "/invocations/one"),
        ):
            told = problem(client.request(method, path), 403)
            assert "`lumbre console` is read-only" in told["detail"]
        assert client.get("/invocations").json()["items"] == []


def test_a_console_that_is_not_read_only_has_the_whole_api(rabbit_url: str, tmp_path: Path) -> None:
    with console(tmp_path, rabbit_url) as client:
        answer = client.post("/invoke/add", json={"a": 1}, headers=ASYNC)
        assert answer.status_code == 202
        id = answer.headers["Invocation-Id"]
        assert client.get(f"/invocations/{id}").json()["status"] == "queued"


def test_a_console_by_itself_makes_no_sense_in_one_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LUMBRE_{name.upper()}", raising=False)
    with pytest.raises(ConfigurationError, match="`lumbre up` serves the console itself"):
        run_console(read_settings({}))
    with pytest.raises(ConfigurationError, match="LUMBRE_CONSOLE=off"):
        run_console(read_settings({"broker_url": "amqp://localhost", "console": False}))
