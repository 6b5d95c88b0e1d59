"""The deletion cost of a pod: when it is told, and how, to an API server over TLS."""

import json
import logging
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.servers import certificate
from runtime.errors import ConfigurationError
from runtime.pod import ANNOTATION, BETWEEN, LONG, Cost, DeletionCost, Pod, find_pod

FACTS = {
    "LUMBRE_POD_DELETION_COST": "1",
    "LUMBRE_POD_NAME": "matmul-gpu-5d9f-x2x",
    "LUMBRE_POD_NAMESPACE": "lumbre",
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "6443",
}

# ── which pod ─────────────────────────────────────────────────────────────────────────────────


def test_a_pod_is_known_by_what_its_manifest_hands_it() -> None:
    pod = find_pod(FACTS)
    assert pod
    url = "https://10.96.0.1:6443/api/v1/namespaces/lumbre/pods/matmul-gpu-5d9f-x2x"
    assert pod.url == url
    six = find_pod(FACTS | {"KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert six and six.api == "https://[fd00::1]:6443"


@pytest.mark.parametrize("asked", ["", "0"])
def test_whoever_does_not_ask_for_it_needs_none_of_them(asked: str) -> None:
    assert find_pod({"LUMBRE_POD_DELETION_COST": asked}) is None
    assert find_pod({}) is None


@pytest.mark.parametrize("name", ["LUMBRE_POD_NAME", "LUMBRE_POD_NAMESPACE"])
def test_a_fact_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is not.*fieldRef"):
        find_pod({key: value for key, value in FACTS.items() if key != name})


# ── when ──────────────────────────────────────────────────────────────────────────────────────


def play(busy: list[float | None], step: float = 1.0) -> list[tuple[float, bool]]:
    """What is told, and when, of a worker that is looked at every `step` seconds."""
    cost, told = Cost(), []
    for number, busy_for in enumerate(busy):
        now = 1000.0 + number * step
        due = cost.due(now, busy_for)
        if due is not None:
            cost.wrote(now, due)
            told.append((number * step, due))
    return told


def test_a_long_job_is_told_after_two_seconds_and_its_end_once_nothing_follows() -> None:
    busy = [*(float(second) for second in range(30)), *[None] * 20]
    assert play(busy) == [(2.0, True), (30.0 + LONG, False)]


def test_short_jobs_one_after_another_are_never_told() -> None:
    assert play([0.1, 0.9, 1.9, None, 1.5] * 20) == []


def test_long_jobs_one_after_another_are_told_once() -> None:
    assert play([0.5, 1.5, 2.5, 3.5, None] * 20) == [(2.0, True)]


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=300))
def test_it_is_written_only_when_it_changes_and_at_most_every_ten_seconds(
    busy: list[float | None],
) -> None:
    told = play(busy, 0.5)
    for (at, value), (later, other) in pairwise(told):
        assert later - at >= BETWEEN
        assert value != other
    assert all(value for _, value in told[:1]), "an idle pod has nothing to take back"


@given(st.integers(1, 12))
def test_what_cannot_be_written_is_tried_ever_more_rarely(failures: int) -> None:
    cost, now, pauses = Cost(), 0.0, []
    for _ in range(failures):
        before = now
        while cost.due(now, 60.0) is None:
            now += 1
        pauses.append(now - before)
        assert cost.failed(now) == (len(pauses) == 1), "said once"
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 300


# ── how ───────────────────────────────────────────────────────────────────────────────────────


class ApiServer:
    """Takes PATCHes over TLS as a Kubernetes API server does, and answers what a test says."""

    def __init__(self, folder: Path) -> None:
        made = certificate.make(folder / "certificates")
        self.account = folder / "account"
        self.account.mkdir()
        (self.account / "token").write_text("a-token\n")
        (self.account / "ca.crt").write_bytes(made.authority.read_bytes())
        self.stranger = made.stranger
        self.status = 200
        self.annotations: dict[str, str] = {"other": "stays"}
        self.seen: list[dict[str, Any]] = []
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.server, made.server_key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._serving.start()

    @property
    def pod(self) -> Pod:
        port = f"{self._server.server_port}"
        here = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
        pod = find_pod(FACTS | here, self.account)
        assert pod
        return pod

    def close(self) -> None:
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.seen.append({"path": self.path, **self.headers})
                if api.status == 200:
                    api.merge(json.loads(body)["metadata"]["annotations"])
                self.send_response(api.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def merge(self, patch: dict[str, str | None]) -> None:
        """RFC 7396: null removes."""
        merged = self.annotations | patch
        self.annotations = {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path)
    yield server
    server.close()


async def test_a_busy_pod_gets_the_annotation_and_an_idle_one_loses_it(api: ApiServer) -> None:
    busy: list[float | None] = [5.0]
    cost = DeletionCost(api.pod, lambda: busy[0])
    await cost.look(100.0)
    assert api.annotations == {"other": "stays", ANNOTATION: "1000"}
    busy[0] = None
    for now in (101.0, 100.0 + BETWEEN + LONG):
        await cost.look(now)
    assert api.annotations == {"other": "stays"}
    first, second = api.seen
    path = "/api/v1/namespaces/lumbre/pods/matmul-gpu-5d9f-x2x?fieldManager=lumbre-worker"
    assert first["path"] == second["path"] == path
    assert first["Content-Type"] == "application/merge-patch+json"
    assert first["Authorization"] == "Bearer a-token"


async def test_a_token_that_was_renewed_is_read_again(api: ApiServer) -> None:
    busy: list[float | None] = [5.0]
    cost = DeletionCost(api.pod, lambda: busy[0])
    api.status = 401
    await cost.look(100.0)
    (api.account / "token").write_text("another")
    api.status = 200
    await cost.look(100.0 + BETWEEN)
    assert [seen["Authorization"] for seen in api.seen] == ["Bearer a-token", "Bearer another"]
    assert ANNOTATION in api.annotations


async def test_a_role_that_lacks_the_right_is_said_once(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.status = 403
    cost = DeletionCost(api.pod, lambda: 60.0)
    with caplog.at_level(logging.WARNING, "runtime.pod"):
        for number in range(60):
            await cost.look(100.0 + number * BETWEEN)
    assert 3 < len(api.seen) < 10, "it backs off"
    assert len(caplog.records) == 1
    assert "HTTP 403: its Role lacks patch on pods" in caplog.text
    assert "a-token" not in caplog.text


async def test_an_api_server_of_another_authority_gets_no_token(api: ApiServer) -> None:
    (api.account / "ca.crt").write_bytes(api.stranger.read_bytes())
    cost = DeletionCost(api.pod, lambda: 60.0)
    await cost.look(100.0)
    assert not api.seen
    api.account.joinpath("ca.crt").unlink()
    await cost.look(1000.0)
    assert not api.seen


async def test_no_proxy_of_the_environment_is_asked(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    cost = DeletionCost(api.pod, lambda: 60.0)
    await cost.look(100.0)
    assert len(api.seen) == 1
