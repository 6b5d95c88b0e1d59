"""Running a process: its socket, its signals, its start, its drain and its end.

What runs is a list of parts (a node, or the roles of a distributed deployment); the first signal
drains them, the second ends everything at once.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from runtime.errors import ConfigurationError
from runtime.http import Protocol as HttpProtocol
from runtime.logs import say
from runtime.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
DRAINING = "draining: what runs may finish; press Ctrl-C again to stop now"

log = logging.getLogger(__name__)


class Role(Protocol):
    """A part that a process runs."""

    async def start(self) -> None:
        """Return once it works; what it raises ends the process."""

    async def drain(self) -> None:
        """Take nothing new, and finish what runs."""

    async def close(self) -> None:
        """Write what is left and end every process of its own."""


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process decides what stops when."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(app: ASGIApp) -> Server:
    """A server of an application, to be given a socket."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=HttpProtocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    return Server(config)


class Process:
    """Runs roles, and perhaps a server, until a signal ends them."""

    def __init__(
        self,
        roles: Sequence[Role],
        up: Callable[[float], str],
        server: tuple[Server, socket.socket] | None = None,
        *,
        began: float,  # time.perf_counter() when the process did
    ) -> None:
        self._roles = roles
        self._up = up  # what to say, given the seconds that the start took
        self._server = server
        self._stopping = asyncio.Event()
        self._signalled = False
        self._error: BaseException | None = None
        self._began = began

    def end(self, error: BaseException | None = None) -> None:
        """Drain and end, as a signal does; `run` then raises the error, if there is one."""
        self._error = self._error or error
        self._stopping.set()

    async def run(self) -> None:
        # What is alive now stays: the collector need not look at it on the path of every request.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        serving = None
        if self._server:
            serving = asyncio.create_task(self._server[0].serve([self._server[1]]))
        starting = asyncio.create_task(self._start())
        starting.add_done_callback(self._started)
        await self._stopping.wait()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        say(DRAINING)
        for role in self._roles:
            await role.drain()
        if self._server and serving:
            self._server[0].should_exit = True
            await serving
        for role in reversed(self._roles):
            await role.close()
        if not starting.cancelled() and (error := starting.exception()):
            raise error
        if self._error:
            raise self._error

    async def _start(self) -> None:
        for role in self._roles:
            await role.start()

    def _started(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        if task.exception():
            self._stopping.set()
            return
        say(self._up(time.perf_counter() - self._began))

    def _stop(self) -> None:
        """The first signal drains; the second ends at once (the kernel then ends replicas)."""
        if self._signalled:
            os._exit(130)
        self._signalled = True
        self._stopping.set()


def check_address(settings: Settings, *, keys: bool) -> None:
    """ConfigurationError where others could reach what asks for no keys."""
    if settings.host in LOOPBACK or settings.insecure or keys:
        return
    raise ConfigurationError(
        f"LUMBRE_HOST={settings.host}: whoever reaches this address could run functions; make an"
        " API key (lumbre keys create NAME --scope invoke --scope read) and leave LUMBRE_KEYS as"
        " it is, listen on 127.0.0.1, or say --insecure"
    )


def bound(settings: Settings, listening: socket.socket) -> Settings:
    """The settings with the port that was taken, where any would do."""
    return settings.model_copy(update={"port": listening.getsockname()[1]})


def listen(settings: Settings, port: int | None = None, flag: str = "--port") -> socket.socket:
    """A bound socket; ConfigurationError where the port is taken.

    `port` is another than the settings' own, and `flag` what sets it.
    """
    port = settings.port if port is None else port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"port {port} on {settings.host} cannot be taken ({error.strerror}):"
            f" stop what uses it, or choose another with {flag}"
        ) from None
    return listening
