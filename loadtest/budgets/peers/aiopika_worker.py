"""A worker written by hand with aio-pika: `python -m loadtest.budgets.peers.aiopika_worker`.

It answers to `reply_to`, under the caller's correlation id, and then acknowledges.  Nothing is
confirmed, recorded or tried again.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import aio_pika
import uvloop

from loadtest.budgets.peers import work

PREFETCH = 64


def handler(exchange: Any, compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def on_message(message: Any) -> None:
        async with message.process():
            answer = json.dumps(compute(json.loads(message.body))).encode()
            await exchange.publish(
                aio_pika.Message(answer, correlation_id=message.correlation_id),
                routing_key=message.reply_to,
                mandatory=False,  # a direct reply goes to no queue
            )

    return on_message


async def main() -> None:
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    async with connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=PREFETCH)
        for name, compute in (("echo", work.echo), ("matmul", work.Product())):
            queue = await channel.declare_queue(f"aiopika.{name}")
            await queue.consume(handler(channel.default_exchange, compute))
        await asyncio.Future()


if __name__ == "__main__":
    uvloop.run(main())
