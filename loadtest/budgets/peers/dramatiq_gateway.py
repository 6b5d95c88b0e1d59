"""Starlette in front of Dramatiq: a call waits for its actor's result in a thread."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from loadtest.budgets.peers.dramatiq_actors import echo_actor, matmul_actor

TIMEOUT = 20_000  # milliseconds
THREADS = 64  # as many as there are callers; 40 if nobody says otherwise


def call(actor: Any, body: Any) -> Any:
    return actor.send(body).get_result(block=True, timeout=TIMEOUT)


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(await run_in_threadpool(call, echo_actor, await request.json()))


async def matmul(request: Request) -> JSONResponse:
    return JSONResponse(await run_in_threadpool(call, matmul_actor, await request.json()))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


app = Starlette(
    routes=[
        Route("/echo", echo, methods=["POST"]),
        Route("/matmul", matmul, methods=["POST"]),
    ],
    lifespan=lifespan,
)
