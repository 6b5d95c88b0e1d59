"""The roles of a distributed deployment: gateway, worker, recorder; a process runs some of them.

They share nothing but the broker and the ledger, and a worker not even that: it has the broker and
the blobs.  Each has a connection of its own, because RabbitMQ stops reading from one that publishes
while it is short of memory.
"""

import logging
import os
import socket
import time
from contextlib import AbstractContextManager, nullcontext

import uvloop

from runtime.baked import open_catalog
from runtime.catalog import Catalog
from runtime.errors import ConfigurationError
from runtime.gateway_role import GatewayRole
from runtime.health import Health
from runtime.ledger import Ledger
from runtime.logs import set_up_logging
from runtime.pod import find_pod
from runtime.recorder_role import RecorderRole
from runtime.role import Tasks, connection, declare, open_ledger, patiently
from runtime.serving import Process, Role, Server, bound, listen, serve
from runtime.settings import Settings
from runtime.worker_role import Duty, WorkerRole
from runtime.workers import queues_of

log = logging.getLogger(__name__)


class CatalogRole:
    """The functions of this process, described, and described again when their files change."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.followers: list[GatewayRole | WorkerRole] = []
        self._settings = settings
        self._catalog = catalog
        self._tasks = Tasks()
        catalog.on_late = lambda: self._tasks.spawn(self._reload())

    async def start(self) -> None:
        await self._catalog.refresh()
        if self._settings.reload:
            self._tasks.spawn(self._watch())

    async def drain(self) -> None:
        await self._tasks.close()

    async def close(self) -> None:
        self._catalog.close()

    async def _watch(self) -> None:
        from watchfiles import PythonFilter, awatch

        folders = [folder for folder in self._settings.folders if folder.is_dir()]
        async for _ in awatch(*folders, watch_filter=PythonFilter()):
            await self._reload()

    async def _reload(self) -> None:
        await self._catalog.refresh()
        for follower in self.followers:
            await follower.reload()
        for broken in self._catalog.broken.values():
            error = broken.error
            log.error("file=%s is broken: %s: %s", broken.file, error.type, error.message)


class LedgerRole:
    """The ledger of this process, closed after everybody who writes it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def start(self) -> None:
        return None

    async def drain(self) -> None:
        return None

    async def close(self) -> None:
        await self._ledger.close()


def run_gateway(settings: Settings, *, records: bool, duty: Duty | None = None) -> None:
    """Serve HTTP until a signal ends it; with a `duty`, run functions in this process, too."""
    _serve(settings, "lumbre" if duty else "lumbre gateway", records=records, duty=duty)


def run_console(settings: Settings) -> None:
    """Serve the console, beside gateways that run elsewhere, until a signal ends it."""
    if settings.embedded:
        raise ConfigurationError(
            "LUMBRE_BROKER_URL=memory:// is one process, and `lumbre up` serves the console itself,"
            " at its own address; `lumbre console` is for a RabbitMQ that gateways share"
        )
    if not settings.console:
        raise ConfigurationError("LUMBRE_CONSOLE=off: `lumbre console` would have nothing to serve")
    _serve(settings, "lumbre console", records=False, alone=True)


def _serve(
    settings: Settings,
    what: str,
    *,
    records: bool,
    duty: Duty | None = None,
    alone: bool = False,
) -> None:
    began = time.perf_counter()
    _prepare(settings)

    async def main(settings: Settings) -> None:
        ledger = await open_ledger(settings)
        catalog = open_catalog(settings, duty.functions if duty else None)
        described = CatalogRole(settings, catalog)
        gateway = GatewayRole(settings, ledger, catalog, records=records, alone=alone)
        workers = [WorkerRole(settings, catalog, duty)] if duty else []
        described.followers = [gateway, *workers]

        def up(seconds: float) -> str:
            names = ", ".join(sorted(catalog.functions)) or "none yet; `lumbre new NAME` makes one"
            host, port = listening.getsockname()[:2]
            return f"{what} is up on http://{host}:{port} ({seconds:.1f} s); functions: {names}"

        try:
            await patiently(settings, gateway.access.open)
        except BaseException:
            await ledger.close()
            raise
        roles: list[Role] = [LedgerRole(ledger), described, gateway, *workers]
        await Process(roles, up, (serve(gateway.app), listening), began=began).run()

    with listen(settings) as listening:
        uvloop.run(main(bound(settings, listening)))


def run_worker(settings: Settings, duty: Duty) -> None:
    """Run functions until a signal ends it."""
    began = time.perf_counter()
    _prepare(settings)

    async def main() -> None:
        catalog = open_catalog(settings, duty.functions)
        described = CatalogRole(settings, catalog)
        worker = WorkerRole(settings, catalog, duty, find_pod(os.environ))
        described.followers = [worker]

        def up(seconds: float) -> str:
            names = ", ".join(duty.functions or sorted(catalog.functions)) or "none yet"
            return f"lumbre worker is up ({seconds:.1f} s); functions: {names}"

        process = Process([described, worker], up, _probes(worker.health, probed), began=began)
        worker.on_over = process.end
        await process.run()

    with _probe_socket(settings) as probed:
        uvloop.run(main())


def run_recorder(settings: Settings) -> None:
    """Write what workers report until a signal ends it."""
    began = time.perf_counter()
    _prepare(settings)

    async def main() -> None:
        ledger = await open_ledger(settings)
        recorder = RecorderRole(settings, ledger)
        roles: list[Role] = [LedgerRole(ledger), recorder]
        probes = _probes(recorder.health, probed)

        def up(seconds: float) -> str:
            return f"lumbre recorder is up ({seconds:.1f} s)"

        await Process(roles, up, probes, began=began).run()

    with _probe_socket(settings) as probed:
        uvloop.run(main())


def run_declare(settings: Settings) -> list[str]:
    """Make every queue exist, those of the functions and those that roles share; their names.

    ConfigurationError where the broker does not take one, or a function file is broken: then the
    queues of the others are there.
    """
    _prepare(settings)

    async def main() -> list[str]:
        catalog = open_catalog(settings, None)
        bus = connection(settings, "declare")
        try:
            await catalog.refresh()
            await bus.open(settings.broker_patience)
            specs = [spec for _, spec in sorted(catalog.functions.items())]
            await declare(bus, specs, settings)
        finally:
            await bus.close()
            catalog.close()
        if broken := [f"{b.file}: {b.error.message}" for b in catalog.broken.values()]:
            raise ConfigurationError(f"these have no queues, being broken: {'; '.join(broken)}")
        return queues_of(specs)

    return uvloop.run(main())


def _probe_socket(settings: Settings) -> AbstractContextManager[socket.socket | None]:
    """A bound socket for probes and metrics, if they are wanted."""
    if not settings.health_port:
        return nullcontext()
    return listen(settings, settings.health_port, "--health-port")


def _probes(
    health: Health | None, listening: socket.socket | None
) -> tuple[Server, socket.socket] | None:
    return (serve(health.app()), listening) if health and listening else None


def _prepare(settings: Settings) -> None:
    set_up_logging(settings.log_format, settings.log_level)
    if settings.embedded:
        raise ConfigurationError(
            "LUMBRE_BROKER_URL=memory:// is one process, `lumbre up`: give the roles a RabbitMQ,"
            " such as amqp://guest:guest@localhost"
        )
    settings.state.mkdir(parents=True, exist_ok=True)
