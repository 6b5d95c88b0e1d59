"""Starlette in front of a queue, written by hand with aio-pika: calls by direct reply-to."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

REPLY_TO = "amq.rabbitmq.reply-to"
TIMEOUT = 20.0  # seconds


class Caller:
    """Sends calls over one channel, and takes their answers."""

    def __init__(self, channel: Any) -> None:
        self._exchange = channel.default_exchange
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def call(self, queue: str, body: Any) -> Any:
        id = uuid4().hex
        answered = self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            await self._exchange.publish(
                aio_pika.Message(json.dumps(body).encode(), correlation_id=id, reply_to=REPLY_TO),
                routing_key=queue,
                mandatory=False,
            )
            return json.loads(await asyncio.wait_for(answered, TIMEOUT))
        finally:
            del self._waiting[id]

    async def on_answer(self, message: Any) -> None:
        if answered := self._waiting.get(message.correlation_id):
            answered.set_result(message.body)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with await aio_pika.connect_robust(os.environ["AMQP_URL"]) as connection:
        channel = await connection.channel(publisher_confirms=False)
        app.state.caller = caller = Caller(channel)
        answers = await channel.get_queue(REPLY_TO, ensure=False)
        await answers.consume(caller.on_answer, no_ack=True)
        yield


async def echo(request: Request) -> JSONResponse:
    caller = request.app.state.caller
    return JSONResponse(await caller.call("aiopika.echo", await request.json()))


async def matmul(request: Request) -> JSONResponse:
    caller = request.app.state.caller
    return JSONResponse(await caller.call("aiopika.matmul", await request.json()))


app = Starlette(
    routes=[
        Route("/echo", echo, methods=["POST"]),
        Route("/matmul", matmul, methods=["POST"]),
    ],
    lifespan=lifespan,
)
