"""What the roles of a run share: a broker, a database, and the disk of the blobs."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from loadtest.chaos.disk import Disk
from loadtest.chaos.schedule import Fault, Kind
from loadtest.chaos.shape import Shape, Store
from loadtest.servers import PostgresServer, QueueRow, RabbitServer

AFTERMATH = 10.0  # seconds after a broker's fault that connections may take to be mended

BROKER_KINDS = {
    Kind.RESTART_BROKER,
    Kind.KILL_BROKER,
    Kind.CLOSE_CONNECTIONS,
    Kind.MEMORY_ALARM,
}
DATABASE_KINDS = {Kind.RESTART_DATABASE, Kind.KILL_DATABASE, Kind.CLOSE_SESSIONS}


class Stores:
    """A vhost of a RabbitMQ, a database of a PostgreSQL and a disk, as far as a shape has them.

    Servers that are lent are broken like others, but left running.  Everything here blocks; the
    faults may come from several threads.
    """

    def __init__(
        self,
        folder: Path,
        shape: Shape,
        rabbit: RabbitServer | None = None,
        postgres: PostgresServer | None = None,
    ) -> None:
        name = uuid4().hex[:12]
        self.vhost = f"chaos-{name}"
        self.database = f"chaos_{name}"
        self.outages: list[tuple[float, float]] = []  # unix seconds, of the broker
        self._lent = [server for server in (rabbit, postgres) if server]
        self._rabbit: RabbitServer | None = None
        self._postgres: PostgresServer | None = None
        if not shape.embedded:
            self._rabbit = rabbit or RabbitServer(folder / "r", plugins=())
        if shape.ledger is Store.POSTGRES:
            self._postgres = postgres or PostgresServer(folder / "postgres")
        self._disk = Disk(folder / "blobs")
        self._breaking_broker, self._breaking_database = threading.Lock(), threading.Lock()

    def start(self) -> None:
        """Start what is not lent, and make a vhost and a database for this run."""
        with ThreadPoolExecutor(2) as pool:
            for begun in [pool.submit(self._start_rabbit), pool.submit(self._start_postgres)]:
                begun.result()

    def close(self) -> None:
        """End what was started, and drop what was made."""
        if self._rabbit:
            if self._rabbit in self._lent:
                self._rabbit.remove_vhost(self.vhost)
            else:
                self._rabbit.kill()
        if self._postgres:
            if self._postgres in self._lent:
                self._postgres.drop_database(self.database)
            else:
                self._postgres.kill()
        self._disk.close()

    def settings(self) -> dict[str, str]:
        """What a role must be told of these."""
        told = {"BLOBS_URL": self._disk.folder.as_uri()}
        if self._rabbit:
            told["BROKER_URL"] = self._rabbit.url(vhost=self.vhost)
        if self._postgres:
            told["LEDGER_URL"] = self._postgres.url(self.database)
        return told

    def queues(self) -> list[QueueRow]:
        """Every queue there is now."""
        return self._rabbit.queues(self.vhost) if self._rabbit else []

    def sql(self, statement: str) -> str:
        """What PostgreSQL answers, a row a line."""
        assert self._postgres
        return self._postgres.sql(statement, self.database)

    # ── faults ────────────────────────────────────────────────────────────────────────────────

    @property
    def kinds(self) -> set[Kind]:
        """What can be done to them."""
        kinds = set(BROKER_KINDS) if self._rabbit else set()
        if self._postgres:
            kinds |= DATABASE_KINDS
        return kinds | {Kind.FILL_DISK} if self._disk.can_fill else kinds

    def apply(self, fault: Fault) -> None:
        """Do what a fault says; returns when everything is up again."""
        if fault.kind is Kind.FILL_DISK:
            self._disk.fill(fault.seconds)
        elif fault.kind in DATABASE_KINDS:
            assert self._postgres
            with self._breaking_database:
                self._break_database(self._postgres, fault)
        else:
            assert self._rabbit
            with self._breaking_broker:
                began = time.time()
                self._break_broker(self._rabbit, fault)
                self.outages.append((began, time.time() + AFTERMATH))

    @staticmethod
    def _break_broker(rabbit: RabbitServer, fault: Fault) -> None:
        match fault.kind:
            case Kind.RESTART_BROKER:
                rabbit.restart()
            case Kind.KILL_BROKER:
                rabbit.kill()
                time.sleep(fault.seconds)
                rabbit.start()
            case Kind.CLOSE_CONNECTIONS:
                rabbit.close_connections("closed by chaos")
            case _:
                rabbit.set_memory_alarm(True)
                time.sleep(fault.seconds)
                rabbit.set_memory_alarm(False)

    @staticmethod
    def _break_database(postgres: PostgresServer, fault: Fault) -> None:
        if fault.kind is Kind.CLOSE_SESSIONS:
            postgres.close_connections()
            return
        end: Callable[[], None] = postgres.stop
        if fault.kind is Kind.KILL_DATABASE:
            end = postgres.kill
        end()
        time.sleep(fault.seconds)
        postgres.start()

    def _start_rabbit(self) -> None:
        if self._rabbit:
            if self._rabbit not in self._lent:
                self._rabbit.start()
            self._rabbit.add_vhost(self.vhost)

    def _start_postgres(self) -> None:
        if self._postgres:
            if self._postgres not in self._lent:
                self._postgres.start()
            self._postgres.create_database(self.database)
