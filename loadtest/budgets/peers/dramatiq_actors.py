"""Dramatiq actors over RabbitMQ, whose results are kept in Redis; `dramatiq` runs this module."""

import os
from functools import cache

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from loadtest.budgets.peers import work

broker = RabbitmqBroker(url=os.environ["AMQP_URL"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)

product = cache(work.Product)


def matmul(body: dict[str, float]) -> dict[str, float]:
    return product()(body)


echo_actor = dramatiq.actor(work.echo, store_results=True)
matmul_actor = dramatiq.actor(matmul, store_results=True)
