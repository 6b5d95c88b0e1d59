"""Starlette that computes in its own process: no queue, no worker, no record."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from loadtest.budgets.peers import work

product = work.Product()


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(work.echo(await request.json()))


async def matmul(request: Request) -> JSONResponse:
    return JSONResponse(product(await request.json()))


app = Starlette(
    routes=[
        Route("/echo", echo, methods=["POST"]),
        Route("/matmul", matmul, methods=["POST"]),
    ]
)
