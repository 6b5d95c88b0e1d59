"""A server that answers every request after 20 ms, at next to no cost: it is nobody's limit.

`python -m loadtest.budgets.delayed --port N`, on loopback; for requests without pipelining, whose
head and body come together, as load generators send them.
"""

import argparse
import asyncio

import uvloop

DELAY = 0.02  # seconds
BODY = b'{"x":1}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class Delayed(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._later = asyncio.get_running_loop().call_later

    def data_received(self, data: bytes) -> None:
        self._later(DELAY, self.answer)

    def answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Delayed, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m loadtest.budgets.delayed", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
