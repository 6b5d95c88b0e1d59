"""Every broker we ship, for the one contract they share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest

from runtime.brokers import Broker
from runtime.brokers.memory import MemoryBroker

OpenBroker = Callable[[], Awaitable[Broker]]


async def open_memory() -> Broker:
    return MemoryBroker()


BROKERS: dict[str, tuple[OpenBroker, float]] = {
    "memory": (open_memory, 0.0),
}


@pytest.fixture(params=list(BROKERS))
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a broker; one that needs a server skips here where there is none."""
    return str(request.param)


@pytest.fixture
def open_broker(kind: str) -> OpenBroker:
    """Open a broker on the loop that runs; whoever calls it closes what it got."""
    return BROKERS[kind][0]


@pytest.fixture
def patience(kind: str) -> float:
    """Seconds a broker may take for what it does by itself, beside some turns of the loop."""
    return BROKERS[kind][1]


@pytest.fixture
async def broker(open_broker: OpenBroker) -> AsyncIterator[Broker]:
    opened = await open_broker()
    yield opened
    await opened.close()


@pytest.fixture
def function() -> str:
    """The name of a function whose queues nobody else uses, on a shared server either."""
    return f"f{uuid4().hex[:16]}"
