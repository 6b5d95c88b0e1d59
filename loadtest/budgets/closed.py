"""Closed-loop load: each of n connections sends its next request once it has its answer.

`python -m loadtest.budgets.closed URL --connections 16 --seconds 3 --body '{"x": 1}'` prints one
JSON object; `measure` runs just that, in a process of its own, so that the load never shares an
interpreter with what asks for it.  Requests are encoded once, and answers are read only as far as
it takes to check them (status, length, body), which costs some 10 µs a request; every report tells
its own CPU time, so that one can see whether the generator was the bottleneck.  For short answers
with a Content-Length; an answer in chunks is counted as an error.
"""

import argparse
import asyncio
import gc
import json
import math
import subprocess
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

import uvloop

RECONNECT = 0.05  # seconds until a connection that failed is tried again
GRACE = 5.0  # seconds after the end that answers may still take
START = 30.0  # seconds the process may take besides the load
LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, how much at once, and for how long; `http://host:port/path` only."""

    url: str
    connections: int
    seconds: float
    requests: int | None = None  # stop after so many, if that is sooner
    method: str = "POST"
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200  # what every answer must have
    answer: str | None = None  # the body every answer must have; None takes any

    def encode(self) -> bytes:
        """The request as HTTP/1.1 bytes, for a connection that is kept."""
        url = urlsplit(self.url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        body = self.body.encode()
        headers = {"Host": url.netloc, "Content-Length": str(len(body)), **self.headers}
        if body and "Content-Type" not in self.headers:
            headers["Content-Type"] = "application/json"
        lines = [f"{self.method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a load; latencies in seconds, nan where nothing was answered."""

    answered: int  # as they should be
    errors: int
    faults: dict[str, int]  # the errors, by what was wrong
    elapsed: float  # seconds until the last answer
    rate: float  # right answers a second
    p50: float
    p90: float
    p99: float
    slowest: float
    cpu: float  # seconds of the generator's own CPU for each request


class Generator:
    """One run of a load on the running event loop."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.request = load.encode()
        self.status = b"%d" % load.status
        self.answer = None if load.answer is None else load.answer.encode()
        self.latencies = array("d")
        self.faults: Counter[str] = Counter()
        self.stop_at = math.inf  # on the clock of perf_counter
        self._left = math.inf if load.requests is None else load.requests
        self._connected: set[Connection] = set()

    async def run(self) -> Measured:
        """Offer the load until its time is over or its requests are sent, and take the answers."""
        load = self.load
        cpu, began = time.process_time(), time.perf_counter()
        self.stop_at = began + load.seconds
        tasks = [asyncio.create_task(self._connect()) for _ in range(load.connections)]
        _, late = await asyncio.wait(tasks, timeout=load.seconds + GRACE)
        elapsed = time.perf_counter() - began
        if unconnected := len(late) - len(self._connected):
            self.faults["cannot connect: no answer"] += unconnected
        for connection in list(self._connected):
            connection.give_up(f"no answer {GRACE:.0f} s after the end")
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self.measured(elapsed, time.process_time() - cpu)

    def take(self) -> bool:
        """Take one of the requests still to be sent; False when the run is over."""
        if self._left <= 0 or time.perf_counter() >= self.stop_at:
            return False
        self._left -= 1
        return True

    def measured(self, elapsed: float, cpu: float) -> Measured:
        """What came of it, given the seconds it took and those of CPU."""
        ordered = sorted(self.latencies)
        errors = self.faults.total()
        return Measured(
            answered=len(ordered),
            errors=errors,
            faults=dict(self.faults),
            elapsed=elapsed,
            rate=len(ordered) / elapsed,
            p50=percentile(ordered, 0.50),
            p90=percentile(ordered, 0.90),
            p99=percentile(ordered, 0.99),
            slowest=percentile(ordered, 1.0),
            cpu=cpu / max(1, len(ordered) + errors),
        )

    async def _connect(self) -> None:
        """Keep one connection up as long as there is something to send."""
        while self.take():
            connection = Connection(self)
            try:
                await self._open(connection)
            except OSError as error:
                self.faults[f"cannot connect: {error.strerror or error}"] += 1
                await asyncio.sleep(RECONNECT)
                continue
            self._connected.add(connection)
            await connection.closed
            self._connected.discard(connection)

    async def _open(self, connection: "Connection") -> None:
        url = urlsplit(self.load.url)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, url.hostname or "", url.port or 80)


class Connection(asyncio.Protocol):
    """One connection with one request in flight; made when that request has been taken."""

    def __init__(self, generator: Generator) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._generator = generator
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._sent_at: float | None = None  # None: nothing in flight

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self._received = data
            return
        length = content_length(data, head)
        end = head + 4 + length
        if length >= 0 and len(data) < end:
            self._received = data
            return
        self._received = b""
        self._take(data, head, end if length >= 0 else -1)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent_at is not None:
            self._fail("the connection was closed before the answer")
        if not self.closed.done():
            self.closed.set_result(None)

    def give_up(self, why: str) -> None:
        """Count what is in flight as an error, and close."""
        if self._sent_at is not None:
            self._fail(why)
        self._close()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(self._generator.request)

    def _take(self, data: bytes, head: int, end: int) -> None:
        """Judge one whole answer, and go on."""
        generator, sent_at = self._generator, self._sent_at
        if sent_at is None:
            generator.faults["an answer that nobody asked for"] += 1
            self._close()
        elif end != len(data):
            self._fail("an answer without Content-Length, or more than one")
            self._close()
        elif data[9:12] != generator.status:
            self._fail(f"status {data[9:12].decode('latin-1')}")
            self._next()
        elif generator.answer is not None and data[head + 4 :] != generator.answer:
            self._fail("another body than expected")
            self._next()
        else:
            generator.latencies.append(time.perf_counter() - sent_at)
            self._sent_at = None
            self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if self._transport.is_closing() or not self._generator.take():
            self._close()
        else:
            self._send()

    def _fail(self, why: str) -> None:
        self._generator.faults[why] += 1
        self._sent_at = None

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def content_length(data: bytes, head: int) -> int:
    """The Content-Length within the first `head` bytes; -1 where there is none."""
    at = data.find(LENGTH, 0, head)
    if at < 0:
        at = data[:head].lower().find(LENGTH)
        if at < 0:
            return -1
    text = data[at + len(LENGTH) : data.find(b"\r", at)]
    return int(text) if text.isdigit() else -1


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least `share` of the values do not exceed (nearest rank)."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(load: Load) -> Measured:
    """Run a load in a process of its own."""
    command = [sys.executable, "-P", __file__, *arguments(load)]
    limit = load.seconds + GRACE + START
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=limit)
    return Measured(**json.loads(done.stdout))


def arguments(load: Load) -> list[str]:
    """The command line that asks for a load."""
    line = [load.url, f"--connections={load.connections}", f"--seconds={load.seconds}"]
    line += [f"--method={load.method}", f"--body={load.body}", f"--status={load.status}"]
    line += [f"--header={name}: {value}" for name, value in load.headers.items()]
    line += [] if load.requests is None else [f"--requests={load.requests}"]
    return line + ([] if load.answer is None else [f"--answer={load.answer}"])


def parse(line: Sequence[str] | None = None) -> Load:
    """Read a command line."""
    parser = argparse.ArgumentParser("python -m loadtest.budgets.closed", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--requests", type=int, help="stop after so many, if that is sooner")
    parser.add_argument("--method", default="POST")
    parser.add_argument("--body", default="")
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("--status", type=int, default=200, help="what every answer must have")
    parser.add_argument("--answer", help="the body every answer must have")
    given = vars(parser.parse_args(line))
    pairs = (header.partition(":") for header in given.pop("header"))
    return Load(**given, headers={name.strip(): value.strip() for name, _, value in pairs})


def main() -> None:
    """Run the load that the command line asks for, and print what came of it."""
    load = parse()
    gc.disable()  # nothing here makes cycles, and a pause would look like the server's
    print(json.dumps(asdict(uvloop.run(Generator(load).run()))))


if __name__ == "__main__":
    main()
