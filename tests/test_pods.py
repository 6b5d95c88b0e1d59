"""Workers and recorders as Kubernetes runs them: probed, drained, started for one message."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtest.chaos.member import Member
from loadtest.servers import RabbitServer
from loadtest.servers.guarded import free_ports
from runtime.brokers import QueueSpec
from runtime.model import Message, Payload, new_id
from runtime.pool import GIVEN_BACK_LIMIT
from runtime.role import connection
from runtime.settings import Settings
from tests.forwarder import Forwarder
from tests.support import eventually
from tests.test_faults import UP, Roles, lumbre


@pytest.fixture
def roles(tmp_path: Path, rabbit: RabbitServer, rabbit_url: str) -> Iterator[Roles]:
    """Whatever was done to them, they drain in the end, and none has printed a traceback."""
    roles = Roles(tmp_path, rabbit, rabbit_url)
    yield roles
    roles.close()
    assert not roles.complaints
    assert "Traceback" not in roles.said()


class Probed:
    """A role with a health port, and who asks it."""

    def __init__(self, roles: Roles, *line: str, **settings: object) -> None:
        (port,) = free_ports(1)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5)
        self.member: Member = roles.role(line[0], *line, HEALTH_PORT=port, **settings)

    def says(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            answer = self.client.get(path)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()

    def status(self, path: str) -> int:
        return self.says(path)[0]

    def metrics(self) -> dict[str, float]:
        """Samples of the worker's or recorder's metrics, by name and label values."""
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        return {
            " ".join((sample.name, *_labels(sample.labels))): sample.value
            for family in families
            for sample in family.samples
        }


def _labels(labels: dict[str, str]) -> list[str]:
    """Function and device first, then whatever else."""
    return [labels[name] for name in sorted(labels, key=ORDER.index) if labels[name]]


ORDER = ("function", "device", "state", "status", "outcome", "phase", "direction", "le")
Start = Callable[..., Probed]


@pytest.fixture
def probed(roles: Roles) -> Iterator[Start]:
    """Start a role with a health port: `probed("worker", "linger", GRACE=3)`."""
    started: list[Probed] = []

    def start(*line: str, **settings: object) -> Probed:
        started.append(Probed(roles, *line, **settings))
        return started[-1]

    yield start
    for each in started:
        each.client.close()


def publish(url: str, function: str, *parameters: Mapping[str, object]) -> None:
    """Put messages into the queue of a function on the CPU."""

    async def put() -> None:
        bus = connection(Settings(broker_url=url), "test")
        await bus.open(10)
        await bus.declare([QueueSpec(f"{function}.cpu", GIVEN_BACK_LIMIT)])
        for each in parameters:
            payload = Payload(orjson.dumps(each))
            message = Message(new_id(), function, "cpu", payload, time.time())
            await bus.publish(f"{function}.cpu", message)
        await bus.close()

    asyncio.run(put())


def declared(roles: Roles, url: str, **settings: object) -> str:
    """What `lumbre declare` says, begun before its broker was there; it must end with 0."""
    port = urlsplit(url).port or 0
    forwarder = Forwarder(port)
    settings["BROKER_URL"] = url.replace(f":{port}", f":{forwarder.port}")
    log = roles.folder / "declare.log"
    with log.open("wb") as output:
        line = [sys.executable, "-m", "runtime", "declare"]
        environment = roles.environment(**settings)
        declaring = subprocess.Popen(line, env=environment, stdout=output, stderr=output)
    eventually(lambda: "trying on" in log.read_text(), UP)
    forwarder.open()
    try:
        assert declaring.wait(UP) == 0
    finally:
        forwarder.close()
        declaring.kill()
        declaring.wait()
    return log.read_text()


def test_a_cluster_is_declared_and_a_worker_for_one_message_takes_one(roles: Roles) -> None:
    """With a password of its own, apart from the URL, and a broker that comes a little later."""
    roles.rabbit.add_user("pod", "s3cret/#@", roles.vhost)
    url = roles.broker_url.replace("guest:guest@", "")
    apart = {"BROKER_USERNAME": "pod", "BROKER_PASSWORD": "s3cret/#@"}
    said = declared(roles, url, **apart)
    assert "declared linger.cpu" in said.splitlines()
    names = {queue.name for queue in roles.rabbit.queues(roles.vhost)}
    assert {"linger.cpu", "double.cpu", "double.dead", "results"} <= names
    publish(roles.broker_url, "double", *({"number": n} for n in range(3)))
    once = lumbre(roles, "worker", "double", "--device", "cpu", "--once", BROKER_URL=url, **apart)
    assert once.returncode == 0, once.stderr
    assert len(roles.runs()) == 1
    eventually(lambda: roles.queued("double.cpu") == (2, 0))
    assert "s3cret" not in once.stderr + once.stdout + said


def test_a_worker_is_probed_from_its_start_to_the_end_of_its_last_job(
    roles: Roles, probed: Start
) -> None:
    port = urlsplit(roles.broker_url).port or 0
    forwarder = Forwarder(port)
    url = roles.broker_url.replace(f":{port}", f":{forwarder.port}")
    forwarder.open()
    worker = probed("worker", "linger", BROKER_URL=url)
    eventually(lambda: worker.status("/healthz") == 200, UP)
    eventually(lambda: worker.status("/startupz") == 200, UP)
    assert worker.says("/readyz") == (200, {"status": "ready"})

    forwarder.close()  # the broker is away: not ready, and no reason to restart
    eventually(lambda: worker.status("/readyz") == 503)
    assert worker.says("/readyz")[1]["detail"] == "the broker is away"
    assert (worker.status("/healthz"), worker.status("/startupz")) == (200, 200)
    forwarder.open()
    eventually(lambda: worker.status("/readyz") == 200, UP)

    publish(roles.broker_url, "linger", {"seconds": 0})
    eventually(lambda: worker.metrics().get("lumbre_worker_attempts_total linger cpu succeeded"))
    told = worker.metrics()
    assert told["lumbre_worker_run_seconds_count linger cpu"] == 1
    assert told["lumbre_worker_replicas linger cpu ready"] == 1
    assert told["lumbre_worker_cold_starts_total linger cpu"] == 1
    assert told["lumbre_worker_broker_up"] == 1

    publish(roles.broker_url, "linger", {"seconds": 3}, {"seconds": 0})
    eventually(lambda: worker.metrics()["lumbre_worker_in_hand linger cpu"] == 1)
    eventually(lambda: len(roles.runs()) == 2)
    drain_at_once(worker)
    eventually(lambda: worker.member.pid is None, 20)
    assert "lost" not in worker.member.tail().partition("draining")[2]
    eventually(lambda: roles.queued("linger.cpu") == (1, 0))
    attempts = [line.split()[1] for line in roles.runs()]
    assert attempts == ["1", "1"], "something was delivered again"
    forwarder.close()


def drain_at_once(worker: Probed) -> None:
    """SIGTERM, after which it is not ready, and alive as long as its job runs."""
    pid = worker.member.pid
    assert pid
    subprocess.run(["kill", f"-{signal.SIGTERM}", f"{pid}"], check=True)
    eventually(lambda: worker.status("/readyz") == 503, 1.0)
    assert "draining" in worker.says("/readyz")[1]["detail"]
    assert worker.status("/healthz") == 200


def test_a_recorder_is_probed_and_tells_what_it_recorded(roles: Roles, probed: Start) -> None:
    recorder = probed("recorder")
    eventually(lambda: recorder.status("/readyz") == 200, UP)
    assert recorder.status("/healthz") == recorder.status("/startupz") == 200
    publish(roles.broker_url, "double", {"number": 4})
    assert lumbre(roles, "worker", "double", "--once").returncode == 0
    done = "lumbre_invocations_total double cpu succeeded"
    eventually(lambda: recorder.metrics().get(done) == 1, 20)
    assert recorder.metrics()["lumbre_recorder_broker_up"] == 1
