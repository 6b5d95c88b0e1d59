"""What the roles of a distributed deployment share: connections, patience, work on the side."""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from runtime.brokers import QueueSpec
from runtime.brokers.rabbitmq import Address, RabbitBroker, check_timeout
from runtime.bus import Bus
from runtime.errors import Unavailable
from runtime.function import FunctionSpec
from runtime.ledger import Ledger
from runtime.pool import GIVEN_BACK_LIMIT
from runtime.settings import Settings
from runtime.workers import queues_of

SETTLE = 10.0  # seconds that the last confirms may take
AGAIN = 1.0  # seconds until what is away is tried again
DECISION = "decision"  # the key of scaling decisions

T = TypeVar("T")

log = logging.getLogger(__name__)


def identity() -> str:
    """A name of this process, unlike any other's."""
    return f"{socket.gethostname().partition('.')[0]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def connection(settings: Settings, name: str) -> RabbitBroker:
    """A bus that is not open yet; ConfigurationError for a URL that is none."""
    return RabbitBroker(
        Address.of(settings),
        name=name,
        management_url=settings.management_url or None,
        consumer_timeout=settings.consumer_timeout,
    )


async def patiently(settings: Settings, work: Callable[[], Awaitable[T]]) -> T:
    """What a start needs of a broker or a ledger, which may go away just then.

    Tried again while they are away; Unavailable if that takes too long.
    """
    until = time.monotonic() + settings.broker_patience
    while True:
        try:
            return await work()
        except Unavailable as error:
            if time.monotonic() > until:
                raise
            log.warning("%s; trying again", error)
            await asyncio.sleep(AGAIN)


async def open_ledger(settings: Settings) -> Ledger:
    """The ledger, once it can be reached; Unavailable if it is away for too long."""
    return await patiently(settings, lambda: Ledger.open(settings.ledger))


class Tasks:
    """Work on the side, ended with its role."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("work on the side failed: %s", error, exc_info=error)


async def declare(bus: Bus, specs: Iterable[FunctionSpec], settings: Settings) -> None:
    """Make their queues exist; ConfigurationError for a timeout that the broker would cut short."""
    queues = []
    for spec in specs:
        check_timeout(spec.name, spec.timeout, settings.consumer_timeout)
        limit = max(
            GIVEN_BACK_LIMIT, spec.max_attempts, spec.retries.max_attempts if spec.retries else 0
        )
        queues += [QueueSpec(queue, limit) for queue in queues_of([spec])]
    await patiently(settings, lambda: bus.declare(queues))


def void(*_: object) -> None:
    """Nothing."""
