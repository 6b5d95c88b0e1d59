"""What the gateway is measured against: JSON in, the same JSON out, and nothing else.

It is what somebody would write with Starlette: no queue, no record, no other process.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


# The load test asks for /invoke/{function}.
PATHS = ("/echo", "/invoke/echo")
app = Starlette(routes=[Route(path, echo, methods=["POST"]) for path in PATHS])
