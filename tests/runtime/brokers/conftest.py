"""Every broker we ship, for the one contract they share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from runtime.brokers import Broker
from runtime.brokers.memory import MemoryBroker
from runtime.brokers.rabbitmq import Address, RabbitBroker

OpenBroker = Callable[[], Awaitable[Broker]]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a broker does beyond what every broker promises."""

    priorities: bool = True  # a higher one goes first; else all are one line
    exact_depth: bool = True  # leased and delayed ones count; else only what a consumer could get
    removes: bool = True  # a waiting message can be taken out; else remove() may be False
    head_of_queue: bool = True  # what is given back comes first; else it comes at some time
    remembers_ids: bool = True  # an id that is in the queue is refused; else the caller takes care
    dead_by_device: bool = True  # depth() counts dead letters of a queue; else of its function
    patience: float = 0.0  # seconds it may take for what it does by itself, beside some loop turns


@dataclass(frozen=True, slots=True)
class Kind:
    """One broker: how to open it on the loop that runs, from the address its fixture gives."""

    traits: Traits
    open: Callable[[str], Awaitable[Broker]]
    address: str = ""  # a fixture's name; one that needs a server skips where there is none


async def open_memory(_: str) -> Broker:
    return MemoryBroker()


async def open_rabbit(address: str) -> Broker:
    broker = RabbitBroker(Address.parse(address), name="contract")
    await broker.open(30)
    return broker


RABBIT = Traits(
    priorities=False,
    exact_depth=False,
    removes=False,
    head_of_queue=False,
    remembers_ids=False,
    dead_by_device=False,
    patience=10.0,
)

BROKERS = {
    "memory": Kind(Traits(), open_memory),
    "rabbitmq": Kind(RABBIT, open_rabbit, "rabbit_url"),
}


@pytest.fixture(params=list(BROKERS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return BROKERS[request.param]


@pytest.fixture
def traits(kind: Kind) -> Traits:
    return kind.traits


@pytest.fixture
def open_broker(kind: Kind, request: pytest.FixtureRequest) -> OpenBroker:
    """Open a broker on the loop that runs; whoever calls it closes what it got."""
    address: str = request.getfixturevalue(kind.address) if kind.address else ""
    return lambda: kind.open(address)


@pytest.fixture
async def broker(open_broker: OpenBroker) -> AsyncIterator[Broker]:
    opened = await open_broker()
    yield opened
    await opened.close()


@pytest.fixture
def function() -> str:
    """The name of a function whose queues nobody else uses, on a shared server either."""
    return f"f{uuid4().hex[:16]}"
