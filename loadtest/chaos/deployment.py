"""A deployment of real processes to break, and who starts them again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from loadtest.chaos.errors import ChaosError
from loadtest.chaos.member import Member
from loadtest.chaos.processes import command_line, leaves, marked
from loadtest.chaos.schedule import Fault, Kind
from loadtest.chaos.shape import Layout, Shape
from loadtest.chaos.stores import Stores
from loadtest.servers import PostgresServer, RabbitServer
from loadtest.servers.guarded import LOOPBACK, free_ports

ROOT = Path(__file__).parent.parent.parent
FUNCTIONS = Path(__file__).parent / "functions"
MARK = "CHAOS_RUN"  # in the environment of every process of a run, whoever started it
START_LIMIT = 120.0  # seconds until every role is up
GONE_LIMIT = 10.0  # seconds after the last role that its replicas may take to be gone
GRACE = 20  # seconds of a drain
QUEUE_LIMIT = 1_000_000


class Deployment:
    """The processes of one run; use it in a `with`, and all are gone afterwards.

    Everything here blocks; faults may come from several threads at once.
    """

    def __init__(
        self,
        folder: Path,
        shape: Shape,
        rabbit: RabbitServer | None = None,
        postgres: PostgresServer | None = None,
    ) -> None:
        self.shape = shape
        self.trace = folder / "trace"
        self.state = folder / "state"
        self.problems: list[str] = []
        self.stores = Stores(folder, shape, rabbit, postgres)
        self._folder = folder
        self._mark = uuid4().hex
        self._spawner = ThreadPoolExecutor(1, "spawner")
        self._ports = free_ports(1 if shape.embedded else shape.gateways)
        self.urls = [f"http://{LOOPBACK}:{port}" for port in self._ports]
        self._gateways: list[Member] = []
        self._workers: list[Member] = []
        self._recorders: list[Member] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def members(self) -> list[Member]:
        """Every role's process."""
        return [*self._recorders, *self._gateways, *self._workers]

    def supervise(self) -> None:
        """Start again what has ended by itself; that is a problem."""
        for member in self.members:
            member.supervise()

    def await_up(self) -> None:
        """Return once every role is up; ChaosError if one is not in time."""

        def down() -> list[str]:
            self.supervise()
            return [member.name for member in self.members if not member.ready]

        self._until(lambda: not down(), START_LIMIT, lambda: f"not up: {', '.join(down())}")

    def stop(self) -> None:
        """Have every role drain for good; what it leaves behind is a problem."""
        for members in (self._workers, self._gateways, self._recorders):
            with ThreadPoolExecutor(max(1, len(members))) as pool:
                list(pool.map(Member.stop, members))
        deadline = time.monotonic() + GONE_LIMIT
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.problems += [f"left behind: process {pid}, {command_line(pid)}" for pid in left]

    def close(self) -> None:
        """End everything at once."""
        for pid in self._left():
            _signal(pid, signal.SIGKILL)
        self._spawner.shutdown()
        self.stores.close()

    # ── faults ────────────────────────────────────────────────────────────────────────────────

    @property
    def kinds(self) -> set[Kind]:
        """What can be done to it."""
        kinds = {Kind.KILL_REPLICA, Kind.TERM_REPLICA} | self.stores.kinds
        if self.shape.embedded:
            return kinds | {Kind.KILL_NODE, Kind.TERM_NODE}
        kinds |= {Kind.KILL_WORKER, Kind.TERM_WORKER, Kind.PAUSE_WORKER}
        kinds |= {Kind.KILL_GATEWAY, Kind.TERM_GATEWAY}
        if self._recorders:
            kinds |= {Kind.KILL_RECORDER, Kind.TERM_RECORDER}
        return kinds

    def apply(self, fault: Fault) -> None:
        """Do what a fault says; returns when what was ended is started again."""
        match fault.kind:
            case Kind.KILL_REPLICA:
                self._end_replica(fault, signal.SIGKILL)
            case Kind.TERM_REPLICA:
                self._end_replica(fault, signal.SIGTERM)
            case Kind.KILL_NODE | Kind.KILL_GATEWAY:
                _chosen(self._gateways, fault).kill(fault.seconds)
            case Kind.TERM_NODE | Kind.TERM_GATEWAY:
                _chosen(self._gateways, fault).terminate(fault.seconds)
            case Kind.KILL_WORKER:
                _chosen(self._workers, fault).kill(fault.seconds)
            case Kind.TERM_WORKER:
                _chosen(self._workers, fault).terminate(fault.seconds)
            case Kind.PAUSE_WORKER:
                _chosen(self._workers, fault).pause(fault.seconds)
            case Kind.KILL_RECORDER:
                _chosen(self._recorders, fault).kill(fault.seconds)
            case Kind.TERM_RECORDER:
                _chosen(self._recorders, fault).terminate(fault.seconds)
            case _:
                self.stores.apply(fault)

    def _end_replica(self, fault: Fault, number: signal.Signals) -> None:
        hosts = self._gateways if self.shape.embedded else self._workers
        replicas = [pid for host in hosts if host.pid for pid in leaves(host.pid)]
        if replicas:
            _signal(replicas[int(fault.which * len(replicas))], number)

    # ── making it ─────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self.trace.touch()
        self.state.mkdir()
        self.stores.start()
        if self.shape.embedded:
            self._gateways = [self._member("node", "up", f"--port={self._ports[0]}")]
        else:
            self._make_roles()
            self._migrate()
        for member in self.members:
            member.start()
        self.await_up()

    def _make_roles(self) -> None:
        apart = self.shape.layout is Layout.RECORDER
        records = "--no-recorder" if apart else "--recorder"
        self._gateways = [
            self._member(f"gateway-{number}", "gateway", f"--port={port}", records)
            for number, port in enumerate(self._ports, 1)
        ]
        if apart:
            self._recorders = [self._member("recorder", "recorder")]
        # Both kinds of workers: those that scale by themselves, and those that are scaled.
        kinds = ("--replicas=2", "--autoscale")
        self._workers = [
            self._member(f"worker-{number}", "worker", kinds[number % 2])
            for number in range(1, self.shape.workers + 1)
        ]

    def _migrate(self) -> None:
        command = [sys.executable, "-m", "runtime", "migrate"]
        done = subprocess.run(
            command, env=self._environment(), cwd=self._folder, capture_output=True, text=True
        )
        if done.returncode:
            raise ChaosError(f"lumbre migrate ended with {done.returncode}: {done.stderr}")

    def _member(self, name: str, *line: str) -> Member:
        command = [sys.executable, "-m", "runtime", *line]
        return Member(
            name, command, self._environment(), self._folder, self._spawner, self.problems.append
        )

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
        settings = {
            "STATE": self.state,
            "FUNCTIONS": FUNCTIONS,
            "GRACE": GRACE,
            "QUEUE_LIMIT": QUEUE_LIMIT,
            **self.stores.settings(),
        }
        paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
        return {
            **inherited,
            **{f"LUMBRE_{name}": str(value) for name, value in settings.items()},
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "CHAOS_TRACE": str(self.trace),
            MARK: self._mark,
        }

    def _left(self) -> list[int]:
        return marked(MARK, self._mark)

    def _until(
        self, probe: Callable[[], object], within: float, complaint: Callable[[], str]
    ) -> None:
        deadline = time.monotonic() + within
        while not probe():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{member.name}: {member.tail()}" for member in self.members)
                raise ChaosError(f"after {within:.0f} s {complaint()}\n{logs}")
            time.sleep(0.05)


def _chosen(members: Sequence[Member], fault: Fault) -> Member:
    return members[int(fault.which * len(members))]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
