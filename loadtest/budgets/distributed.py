"""Lumbre over RabbitMQ, to be measured: a gateway that records, and its workers."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.budgets.server import (
    FUNCTIONS,
    ROOT,
    Background,
    BenchmarkError,
    Server,
    background,
    running,
    until,
)

LUMBRE = (sys.executable, "-m", "runtime")
QUEUE_LIMIT = 1_000_000  # acceptances may run ahead of the replicas
SERVED = ("noop", "checksum", "held")  # by the worker whose replicas stay
SCALED = ("product",)  # by the one that scales
START_LIMIT = 60.0  # seconds until the workers must have their replicas
MIGRATE_LIMIT = 60.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A gateway, a worker with one replica of each function, and one that scales from zero."""

    gateway: Server
    worker: Background
    scaling: Background


@contextmanager
def deployed(folder: Path, name: str, broker: str, ledger: str = "") -> Iterator[Deployment]:
    """Run them on a broker and a ledger; without one, it is a SQLite file in the state folder."""
    settings = {
        "state": folder / f"state-{name}",
        "functions": FUNCTIONS,
        "broker_url": broker,
        "ledger_url": ledger,
        "queue_limit": QUEUE_LIMIT,
    }
    environment = {f"LUMBRE_{key.upper()}": str(value) for key, value in settings.items()}
    if ledger:
        migrate(ledger)
    with ExitStack() as stack:
        steady = (*LUMBRE, "worker", *SERVED, "--replicas=1")
        scaling = (*LUMBRE, "worker", *SCALED, "--autoscale")
        workers = [
            stack.enter_context(background(f"{name}-{what}", command, folder, environment))
            for what, command in (("worker", steady), ("scaling", scaling))
        ]
        gateway = stack.enter_context(
            running(f"{name}-gateway", (*LUMBRE, "gateway"), "/readyz", folder, environment)
        )
        for function in SERVED:
            what = f"{gateway.name} knows of a replica of {function}"
            until(what, lambda f=function: _ready(gateway, f, workers), START_LIMIT, 0.05)  # type: ignore[misc]
        yield Deployment(gateway, *workers)


def migrate(ledger: str) -> None:
    """Make the ledger's tables in a database of PostgreSQL."""
    environment = {"LUMBRE_LEDGER_URL": ledger, "PYTHONPATH": str(ROOT)}
    command = (*LUMBRE, "migrate")
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=MIGRATE_LIMIT
    )
    if done.returncode:
        raise BenchmarkError(f"lumbre migrate ended with {done.returncode}:\n{done.stderr}")


def _ready(gateway: Server, function: str, workers: list[Background]) -> bool:
    counts = gateway.get(f"/functions/{function}")["replicas"].get("cpu", {})
    return all(worker.alive() for worker in workers) and bool(counts.get("ready"))
