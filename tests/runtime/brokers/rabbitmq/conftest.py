"""Brokers on a private RabbitMQ, closed after each test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from loadtest.servers import RabbitServer
from runtime.brokers import QueueSpec
from runtime.brokers.rabbitmq import RabbitBroker
from tests.runtime.brokers.rabbitmq.rig import QUEUE, rabbit_broker

Connect = Callable[..., Awaitable[RabbitBroker]]


@pytest.fixture
async def connect(rabbit_url: str) -> AsyncIterator[Connect]:
    """Open a broker on this test's vhost, with the queue `f.cpu` declared."""
    brokers: list[RabbitBroker] = []

    async def opened(url: str = rabbit_url, **more: Any) -> RabbitBroker:
        broker = rabbit_broker(url, **more)
        brokers.append(broker)
        await broker.open(10)
        await broker.declare([QueueSpec(QUEUE, delivery_limit=3)])
        return broker

    yield opened
    for broker in brokers:
        await broker.close()


@pytest.fixture
async def broker(connect: Connect) -> RabbitBroker:
    return await connect()


@pytest.fixture
def management_url(rabbit: RabbitServer) -> str:
    return rabbit.management_url
