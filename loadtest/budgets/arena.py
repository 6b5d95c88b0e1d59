"""All servers of the comparison over RabbitMQ, up at once."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.budgets.contestant import Contestant, Processes, Task, below, only, tree
from loadtest.budgets.distributed import Deployment, deployed
from loadtest.budgets.environment import Absent, Environment, prepare
from loadtest.budgets.peers.work import checksum
from loadtest.budgets.rivals import AIOPIKA, DRAMATIQ, MATMUL, NOOP, aiopika, dramatiq, starlette
from loadtest.budgets.server import BenchmarkError, scratch
from loadtest.fingerprint import Facts
from loadtest.servers import PostgresServer, RabbitServer, ServerError

POSTGRES, SQLITE = "PostgreSQL", "SQLite"  # where outcomes are recorded
PATHS = {NOOP: "/invoke/noop", MATMUL: "/invoke/checksum"}
ROUNDING = 1e-3  # of the checksum in float32, as a part of it
BODY = '{"x":1}'
ECHO = Task(NOOP, BODY, BODY)


@dataclass(slots=True)
class Arena:
    """Everybody, by name."""

    raw: Contestant
    ours: dict[str, Contestant] = field(default_factory=dict)  # by where outcomes are recorded
    deployments: dict[str, Deployment] = field(default_factory=dict)  # likewise
    peers: dict[str, Contestant] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # peers that cannot be run, and why
    product: Task = ECHO

    def get_ready(self) -> None:
        """See to it that each gives the right answers, the same to the last byte."""
        self.product = _product(self.raw)
        for contestant in (self.raw, *self.ours.values(), *self.peers.values()):
            contestant.expect(ECHO)
            contestant.expect(self.product)


@contextmanager
def opened(facts: Facts) -> Iterator[Arena]:
    """Start all; what is learned of the servers is added to `facts`."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        environment, why = _environment()
        rabbit, postgres = _servers(stack)
        facts.append(("servers", f"RabbitMQ {_version(rabbit)}, PostgreSQL {_asked(postgres)}"))
        facts.append(("peers", environment.versions if environment else why))
        beam, database = only(rabbit.pid), tree(postgres.pid)
        arena = Arena(stack.enter_context(starlette(folder)))
        if environment:
            arena.peers = {
                DRAMATIQ: stack.enter_context(dramatiq(folder, environment, rabbit.url(), beam)),
                AIOPIKA: stack.enter_context(aiopika(folder, environment, rabbit.url(), beam)),
            }
        else:
            arena.absent = {DRAMATIQ: why, AIOPIKA: why}
        ledger = postgres.create_database("bench")
        for name, vhost, url in ((POSTGRES, "/", ledger), (SQLITE, "sqlite", "")):
            lumbre = stack.enter_context(
                deployed(folder, name.lower(), rabbit.url(vhost=vhost), url)
            )
            arena.deployments[name] = lumbre
            more: dict[str, Processes] = {POSTGRES: database} if url else {}
            arena.ours[name] = _contestant(f"Lumbre with {name}", lumbre, beam, more)
        arena.get_ready()
        yield arena


def _contestant(
    name: str, lumbre: Deployment, beam: Processes, more: dict[str, Processes]
) -> Contestant:
    worker = lumbre.worker.pid
    processes = {
        "gateway": only(lumbre.gateway.pid),
        "worker": only(worker),
        "replica": below(worker),
        "RabbitMQ": beam,
    }
    return Contestant(name, lumbre.gateway, PATHS, processes | more)


def _product(raw: Contestant) -> Task:
    """The product as a task: its answer is that of the raw one, once that is checked."""
    answer = raw.server.ask("POST", raw.paths[MATMUL], BODY)
    wanted = checksum(1.0)
    got = float(answer.json()["checksum"]) if answer.status == 200 else float("nan")
    if not abs(got - wanted) < ROUNDING * wanted:
        raise BenchmarkError(f"{raw.name} computes {answer.body[:200]!r} and not {wanted}")
    return Task(MATMUL, BODY, answer.body.decode())


def _environment() -> tuple[Environment | None, str]:
    try:
        return prepare(), ""
    except Absent as absent:
        return None, f"pip could not install it ({absent})"


def _servers(stack: ExitStack) -> tuple[RabbitServer, PostgresServer]:
    """Both servers, started side by side; BenchmarkError where one cannot be."""
    starts = ThreadPoolExecutor(2, "servers")
    stack.callback(starts.shutdown)

    def rabbitmq() -> RabbitServer:
        server = RabbitServer(_folder(stack), plugins=())
        stack.callback(server.kill)
        server.start()
        server.add_vhost("sqlite")
        return server

    def postgresql() -> PostgresServer:
        server = PostgresServer(_folder(stack))
        stack.callback(server.kill)
        return server.start()

    try:
        first, second = starts.submit(rabbitmq), starts.submit(postgresql)
        return first.result(), second.result()
    except ServerError as error:
        raise BenchmarkError(f"{error}") from None


def _folder(stack: ExitStack) -> Path:
    """A short one, as Erlang wants it, that whoever PostgreSQL runs as can enter; on a disk."""
    with_contents = TemporaryDirectory(prefix="lumbre-", dir="/var/tmp", ignore_cleanup_errors=True)
    folder = Path(stack.enter_context(with_contents))
    folder.chmod(0o711)
    return folder


def _version(rabbit: RabbitServer) -> str:
    """What the server's log says when it starts."""
    said = "".join(log.read_text(errors="replace") for log in rabbit.folder.glob("logs/*.log"))
    found = re.search(r"Starting RabbitMQ (\S+) on Erlang (\S+)", said)
    return f"{found[1]} on Erlang {found[2]}" if found else "of an unknown version"


def _asked(postgres: PostgresServer) -> str:
    return str(postgres.sql("SHOW server_version")).split()[0]
