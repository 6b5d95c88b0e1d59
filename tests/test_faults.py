"""One fault at a time, against roles as processes: what each of them does, and says."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import orjson
import pika  # type: ignore[import-untyped]
import pytest

from loadtest.chaos.member import Member
from loadtest.servers import PostgresServer, RabbitServer
from loadtest.servers.guarded import free_ports
from tests.forwarder import Forwarder
from tests.support import ROOT, eventually

FUNCTIONS = Path(__file__).parent / "fault_functions"
ASYNC = {"Prefer": "respond-async"}
UP = 40.0  # seconds; what a gateway that was killed had not published is so after 15
JOB = float(os.environ.get("FAULTS_JOB", "4"))  # seconds a worker is busy when it is asked to end


class Roles:
    """Gateways and workers on one vhost, over one ledger: in SQLite, if no other is given."""

    def __init__(
        self, folder: Path, rabbit: RabbitServer, broker_url: str, **settings: object
    ) -> None:
        self.folder = folder
        self._settings = settings
        self.rabbit = rabbit
        self.broker_url = broker_url
        self.vhost = urlsplit(broker_url).path[1:]
        self.trace = folder / "trace"
        self.trace.touch()
        self.complaints: list[str] = []
        (self.port,) = free_ports(1)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self._spawner = ThreadPoolExecutor(1)
        self._members: list[Member] = []

    def environment(self, **settings: object) -> dict[str, str]:
        given = {
            "BROKER_URL": self.broker_url,
            "STATE": self.folder / "state",
            "FUNCTIONS": FUNCTIONS,
            "GRACE": 30,
            **self._settings,
            **settings,
        }
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")},
            **{f"LUMBRE_{name}": str(value) for name, value in given.items()},
            "PYTHONPATH": str(ROOT),
            "FAULTS_TRACE": str(self.trace),
        }

    def role(self, name: str, *line: str, **settings: object) -> Member:
        """Start a role; `.ready` says whether it is up."""
        command = [sys.executable, "-m", "runtime", *line]
        member = Member(
            f"{name}-{len(self._members)}",
            command,
            self.environment(**settings),
            self.folder,
            self._spawner,
            self.complaints.append,
        )
        self._members.append(member)
        member.start()
        return member

    def gateway(self, *flags: str, **settings: object) -> Member:
        return self.role("gateway", "gateway", f"--port={self.port}", *flags, **settings)

    def worker(self, *functions: str, **settings: object) -> Member:
        return self.role("worker", "worker", *functions, **settings)

    def up(self, *, broker_url: str | None = None) -> Member:
        """Start a gateway and a worker, and wait until both are up; the worker."""
        settings = {"BROKER_URL": broker_url} if broker_url else {}
        gateway, worker = self.gateway(**settings), self.worker(**settings)
        eventually(lambda: gateway.ready and worker.ready, UP)
        return worker

    def runs(self) -> list[str]:
        return self.trace.read_text().splitlines()

    def record(self, id: str) -> Mapping[str, object]:
        found: dict[str, object] = self.client.get(f"/invocations/{id}").json()
        return found

    def statuses(self) -> dict[str, str]:
        """Of every invocation that is recorded, by its id."""
        found: dict[str, str] = {}
        path = "/invocations?limit=1000"
        while path:
            page = self.client.get(path).json()
            found |= {item["id"]: item["status"] for item in page["items"]}
            path = page["next"]
        return found

    def queued(self, name: str) -> tuple[int, int]:
        """Ready and leased messages of a queue; (-1, -1) where there is none."""
        for queue in self.rabbit.queues(self.vhost):
            if queue.name == name:
                return queue.ready, queue.leased
        return -1, -1

    def close(self) -> None:
        """End everything, which must drain."""
        self.client.close()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Member.stop, self._members))
        self._spawner.shutdown()

    def said(self) -> str:
        return "\n".join(member.log.read_text() for member in self._members)


@pytest.fixture
def roles(tmp_path: Path, rabbit: RabbitServer, rabbit_url: str) -> Iterator[Roles]:
    """Whatever was done to them, they drain in the end, and none has printed a traceback."""
    roles = Roles(tmp_path, rabbit, rabbit_url)
    yield roles
    roles.close()
    assert not roles.complaints
    assert "Traceback" not in roles.said()


def lumbre(roles: Roles, *line: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """One command, with what it said."""
    return subprocess.run(
        [sys.executable, "-m", "runtime", *line],
        env=roles.environment(**settings),
        cwd=roles.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def audit(roles: Roles) -> dict[str, Any]:
    """What `lumbre audit` prints, which must hold."""
    url = f"http://127.0.0.1:{roles.port}"
    done = lumbre(roles, "audit", "--json", f"--url={url}")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    found: dict[str, Any] = orjson.loads(done.stdout)
    assert found["holds"]
    return found


def refused(roles: Roles, *line: str, **settings: object) -> str:
    """What a role says that cannot start like this: one line, and exit status 1."""
    done = lumbre(roles, *line, **settings)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_function_that_holds_the_gil_for_three_heartbeats_keeps_its_connection(
    roles: Roles,
) -> None:
    """The connection is in the worker's process, and the function in a replica's."""
    worker = roles.up(broker_url=f"{roles.broker_url}?heartbeat=2")
    answer = roles.client.post("/invoke/hog", json={"seconds": 7})
    assert (answer.status_code, answer.json()) == (200, 1)
    assert len(roles.runs()) == 1
    assert "lost" not in worker.log.read_text()
    eventually(lambda: roles.queued("hog.cpu") == (0, 0))
    assert roles.client.post("/invoke/double", json={"number": 4}).json() == 8


def test_a_worker_that_is_asked_to_end_finishes_what_runs_and_exits_0(roles: Roles) -> None:
    worker = roles.up()
    job = {"seconds": JOB}
    id = roles.client.post("/invoke/linger", json=job, headers=ASYNC).json()["id"]
    eventually(roles.runs)
    other = roles.client.post("/invoke/linger", json={"seconds": 0}, headers=ASYNC).json()["id"]
    worker.stop()  # which complains of any status but 0
    eventually(lambda: roles.record(id)["status"] == "succeeded")
    assert roles.record(id)["attempt"] == 1
    eventually(lambda: roles.queued("linger.cpu") == (1, 0))  # what waited behind it waits still
    assert len(roles.runs()) == 1
    successor = roles.worker("linger")
    eventually(lambda: roles.record(other)["status"] == "succeeded", UP)
    assert roles.record(other)["attempt"] == 1
    assert len(roles.runs()) == 2, "something was delivered again"
    eventually(lambda: successor.ready, UP)


def test_a_queue_that_somebody_deletes_is_there_again_for_the_next_call(roles: Roles) -> None:
    roles.up()
    assert roles.client.post("/invoke/double", json={"number": 1}).json() == 2
    roles.rabbit.ctl("delete_queue", "--vhost", roles.vhost, "double.cpu")
    answer = roles.client.post("/invoke/double", json={"number": 2})
    assert (answer.status_code, answer.json()) == (200, 4)
    roles.rabbit.ctl("delete_queue", "--vhost", roles.vhost, "results")
    id = roles.client.post("/invoke/double", json={"number": 3}, headers=ASYNC).json()["id"]
    eventually(lambda: roles.record(id)["status"] == "succeeded", 20)
    assert "queue=double.cpu was missing" in roles.said()
    audit(roles)


@pytest.mark.parametrize("role", ["gateway", "worker", "recorder"])
def test_a_wrong_password_is_said_at_once_and_never_shown(roles: Roles, role: str) -> None:
    url = roles.broker_url.replace("guest:guest@", "guest:wr%40ng-s3cret@")
    said = refused(roles, role, BROKER_URL=url)
    assert re.search(r"^lumbre: .*'guest'.*password", said, re.MULTILINE), said
    assert "s3cret" not in said


@pytest.mark.parametrize("role", ["gateway", "worker", "recorder"])
def test_a_vhost_that_does_not_exist_is_said_at_once(roles: Roles, role: str) -> None:
    said = refused(roles, role, BROKER_URL=roles.broker_url.replace(roles.vhost, "nowhere"))
    assert re.search(r"^lumbre: .*vhost.*'nowhere'", said, re.MULTILINE), said


def test_a_broker_that_stays_away_is_given_up_on_with_its_address(roles: Roles) -> None:
    url = f"amqp://guest:s3cret@127.0.0.1:{free_ports(1)[0]}/v"
    said = refused(roles, "worker", BROKER_URL=url, BROKER_PATIENCE=0.5)
    assert f"127.0.0.1:{urlsplit(url).port}" in said.splitlines()[-1]
    assert "s3cret" not in said


def test_a_first_call_does_not_wait_for_the_next_look_at_its_queue(roles: Roles) -> None:
    """Its call for a replica comes before its message can be counted, more often than not."""
    roles.up()
    answer = roles.client.post("/invoke/rarely", json={"number": 7}, timeout=UP)
    assert answer.json() == 7


def answers(roles: Roles) -> bool:
    """Whether the gateway takes connections."""
    with contextlib.suppress(httpx.TransportError):
        return roles.client.get("/healthz").status_code == 200
    return False


def test_roles_wait_for_a_broker_that_comes_later_and_for_one_that_goes(roles: Roles) -> None:
    """Behind a port that opens, shuts and opens again."""
    parts = urlsplit(roles.broker_url)
    forwarder = Forwarder(parts.port or 0)
    url = roles.broker_url.replace(f":{parts.port}", f":{forwarder.port}")
    gateway, worker = roles.gateway(BROKER_URL=url), roles.worker(BROKER_URL=url)
    eventually(lambda: all("refused" in each.log.read_text() for each in (gateway, worker)), UP)
    eventually(lambda: answers(roles), UP)
    assert roles.client.get("/readyz").status_code == 503
    forwarder.open()
    eventually(lambda: gateway.ready and worker.ready, UP)
    assert roles.client.post("/invoke/double", json={"number": 1}).json() == 2
    forwarder.close()
    eventually(lambda: roles.client.get("/readyz").status_code == 503)
    refusal = roles.client.post("/invoke/double", json={"number": 2}, headers=ASYNC)
    assert refusal.status_code == 503 and refusal.headers["retry-after"]
    assert "broker is away" in refusal.json()["detail"]
    forwarder.open()
    eventually(lambda: roles.client.get("/readyz").status_code == 200, UP)
    assert roles.client.post("/invoke/double", json={"number": 3}).json() == 6
    eventually(lambda: len(roles.statuses()) >= 2)
    assert audit(roles)["accepted"] == 2, "what was refused was accepted"
    roles.close()
    forwarder.close()


def test_a_gateway_that_ends_before_its_broker_comes_refuses_who_waits(roles: Roles) -> None:
    gateway = roles.gateway(BROKER_URL=f"amqp://127.0.0.1:{free_ports(1)[0]}")
    eventually(lambda: "connection refused" in roles.said() and answers(roles), UP)
    waiting = HTTPConnection("127.0.0.1", roles.port, timeout=60)
    waiting.request("POST", "/invoke/double", '{"number": 1}')
    assert roles.client.get("/healthz").status_code == 200  # so that the other has arrived, too
    gateway.stop()
    refusal = waiting.getresponse()
    assert refusal.status == 503 and refusal.headers["retry-after"]
    waiting.close()


def stray_messages() -> dict[str, bytes]:
    """What somebody else may put into `double.cpu`."""
    header = {
        "v": 1,
        "id": "0" * 32,
        "function": "double",
        "device": "cpu",
        "attempt": 1,
        "created_at": 1.0,
        "n": 2,
    }

    def message(**changes: object) -> bytes:
        return orjson.dumps(header | changes) + b"\n{}"

    return {
        "nothing": b"",
        "garbage": b"\x80\x04\x95garbage\xff\x00",
        "json": b'{"task": "tasks.add", "args": [1, 2]}',
        "another version": message(v=99),
        "an unknown function": message(function="nobody"),
        "another queue's": message(device="gpu"),
        "cut short": message(n=5000),
        "no id": message(id=None),
    }


def test_what_somebody_else_puts_into_a_queue_goes_to_the_dead_letters(roles: Roles) -> None:
    """One by one and all at once, before and behind what is ours."""
    worker = roles.up()
    strays = stray_messages()
    connection = pika.BlockingConnection(pika.URLParameters(roles.broker_url))
    channel = connection.channel()
    headers = pika.BasicProperties(headers={"x-death": [{"count": "many"}], "attempt": "one"})
    for body in strays.values():
        channel.basic_publish("", "double.cpu", body, headers)
    ids = [
        roles.client.post("/invoke/double", json={"number": n}, headers=ASYNC).json()["id"]
        for n in range(20)
    ]
    connection.close()
    for id in ids:
        eventually(lambda i=id: roles.record(i)["status"] == "succeeded")  # type: ignore[misc]
    eventually(lambda: roles.queued("double.dead") == (len(strays), 0))
    assert roles.queued("double.cpu") == (0, 0)
    assert worker.starts == 1 and worker.ready
    assert "dead letters" in worker.log.read_text()
    assert len(roles.runs()) == len(ids)
    assert roles.client.get("/dead-letters?function=double").status_code == 200
    audit(roles)


def test_garbage_in_results_stops_no_recorder(roles: Roles) -> None:
    roles.up()
    connection = pika.BlockingConnection(pika.URLParameters(roles.broker_url))
    for body in stray_messages().values():
        connection.channel().basic_publish("", "results", body)
    connection.close()
    id = roles.client.post("/invoke/double", json={"number": 1}, headers=ASYNC).json()["id"]
    eventually(lambda: roles.record(id)["status"] == "succeeded")
    eventually(lambda: roles.queued("results") == (0, 0))
    assert "cannot be read" in roles.said()


def test_a_function_that_may_run_longer_than_a_delivery_may_be_held_is_refused(
    roles: Roles,
) -> None:
    said = refused(roles, "worker", CONSUMER_TIMEOUT=20)
    assert re.search(r"^lumbre: .*(linger|hog|double).*30", said, re.MULTILINE), said
    assert "consumer_timeout" in said.lower()


def test_a_job_that_outlasts_the_servers_own_limit_runs_once_all_the_same(
    roles: Roles,
) -> None:
    """The server's consumer_timeout is shorter than we were told, and closes the channel."""
    roles.rabbit.set_consumer_timeout(1.5)
    try:
        worker = roles.up()
        answer = roles.client.post("/invoke/linger", json={"seconds": 5})
        assert (answer.status_code, answer.json()) == (200, 1)
        eventually(lambda: roles.queued("linger.cpu") == (0, 0))
        assert len(roles.runs()) == 1
        assert re.search("timed? ?out", worker.log.read_text().lower())
    finally:
        roles.rabbit.set_consumer_timeout(1800)


def test_a_worker_that_is_killed_loses_nothing_and_costs_an_attempt(roles: Roles) -> None:
    worker = roles.up()
    id = roles.client.post("/invoke/linger", json={"seconds": 2}, headers=ASYNC).json()["id"]
    eventually(roles.runs)
    worker.kill(0.0)
    eventually(lambda: roles.record(id)["status"] == "succeeded", UP)
    assert roles.record(id)["attempt"] == 2
    assert [line.split()[1] for line in roles.runs()] == ["1", "2"]


# --- under load


class Load:
    """Calls that come all the time, each given again until it is accepted."""

    def __init__(self, port: int) -> None:
        self.accepted: set[str] = set()
        self.strange: list[str] = []  # answers that a caller does not know what to do with
        self._url = f"http://127.0.0.1:{port}"
        self._over = threading.Event()
        self._callers = [threading.Thread(target=self._call) for _ in range(2)]

    def __enter__(self) -> "Load":
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for caller in self._callers:
            caller.join()

    def goes_on(self) -> None:
        """Wait until more calls are accepted."""
        wanted = len(self.accepted) + 50
        eventually(lambda: len(self.accepted) >= wanted, UP)

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._over.wait(0.004):
                headers = ASYNC | {"Idempotency-Key": uuid4().hex}
                while not self._accepted(client, headers):
                    self._over.wait(0.05)

    def _accepted(self, client: httpx.Client, headers: dict[str, str]) -> bool:
        try:
            answer = client.post("/invoke/double", json={"number": 1}, headers=headers)
        except httpx.TransportError:
            return False
        if answer.status_code in (200, 202):  # given again, it may be over already
            self.accepted.add(answer.headers["invocation-id"])
        elif answer.status_code != 503:
            self.strange.append(f"{answer.status_code}: {answer.text}")
        return answer.status_code != 503


class Apart(Roles):
    """A gateway, a recorder and a worker, over a ledger in PostgreSQL."""

    members: dict[str, Member]

    def start(self) -> None:
        assert lumbre(self, "migrate").returncode == 0
        self.members = {
            "gateway": self.gateway("--no-recorder"),
            "recorder": self.role("recorder", "recorder"),
            "worker": self.worker(),
        }
        self.await_up()

    def await_up(self) -> None:
        eventually(lambda: all(member.ready for member in self.members.values()), UP)


@pytest.fixture(scope="module")
def apart(
    tmp_path_factory: pytest.TempPathFactory, rabbit: RabbitServer, postgres: PostgresServer
) -> Iterator[Apart]:
    name = f"faults_{uuid4().hex[:12]}"
    rabbit.add_vhost(name)
    ledger = postgres.create_database(name)
    roles = Apart(
        tmp_path_factory.mktemp("apart"), rabbit, rabbit.url(vhost=name), LEDGER_URL=ledger
    )
    try:
        roles.start()
        yield roles
    finally:
        roles.close()
        postgres.drop_database(name)
        rabbit.remove_vhost(name)
    assert not roles.complaints
    assert "Traceback" not in roles.said()


@pytest.mark.parametrize("victim", ["worker", "gateway", "recorder", "PostgreSQL"])
def test_whatever_is_killed_under_load_nothing_is_lost(
    apart: Apart, postgres: PostgresServer, victim: str
) -> None:
    with Load(apart.port) as load:
        load.goes_on()
        if victim == "PostgreSQL":
            postgres.restart()
        else:
            apart.members[victim].kill(back_after=0.2)
        load.goes_on()
    apart.await_up()
    assert not load.strange
    pending = set(load.accepted)
    eventually(lambda: all_over(apart, pending), UP)
    statuses = apart.statuses()
    assert {statuses[id] for id in load.accepted} == {"succeeded"}
    assert load.accepted <= {line.split()[0] for line in apart.runs()}
    eventually(lambda: all(apart.queued(name) == (0, 0) for name in ("double.cpu", "results")))
    assert audit(apart)["accepted"] == len(statuses)


def all_over(roles: Roles, pending: set[str]) -> bool:
    """Whether none of these is queued or running any more; forgets those that are not."""
    statuses = roles.statuses()
    pending -= {id for id, status in statuses.items() if status not in ("queued", "running")}
    return not pending
