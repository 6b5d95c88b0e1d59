"""The closed-loop generator, against a tiny server in the test's own event loop."""

import asyncio
import dataclasses
import math
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.budgets import closed
from loadtest.budgets.closed import (
    Connection,
    Generator,
    Load,
    arguments,
    content_length,
    measure,
    parse,
    percentile,
)
from loadtest.budgets.server import free_port

BODY = '{"x":1}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + BODY.encode()
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


class TinyServer:
    """Answers each request with what `answer` gives for its number; counts them."""

    def __init__(self, answer: Callable[[int], bytes], gather: int = 1) -> None:
        self.requests: list[bytes] = []
        self.most_in_flight = 0
        self.port = 0
        self._answer = answer
        self._gather = gather  # hold answers back until so many requests wait for one
        self._held: list[asyncio.Event] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(content_length(head, len(head)))
                self.requests.append(head + body)
                number = len(self.requests)
                await self._gathered()
                if not (answer := self._answer(number)):
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _gathered(self) -> None:
        mine = asyncio.Event()
        self._held.append(mine)
        self.most_in_flight = max(self.most_in_flight, len(self._held))
        if len(self._held) >= self._gather:
            # One more turn of the loop for each connection, so that one too many would be seen.
            for _ in range(3 * self._gather):
                await asyncio.sleep(0)
            held, self._held = self._held, []
            for event in held:
                event.set()
        await mine.wait()


@asynccontextmanager
async def tiny(answer: Callable[[int], bytes], gather: int = 1) -> AsyncIterator[TinyServer]:
    server = TinyServer(answer, gather)
    listening = await asyncio.start_server(server.serve, "127.0.0.1")
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


def load(port: int, connections: int = 4, requests: int | None = 100, **more: object) -> Load:
    fixed = Load(f"http://127.0.0.1:{port}/echo", connections, 20, requests, body=BODY)
    return dataclasses.replace(fixed, **more)  # type: ignore[arg-type]


async def test_every_request_is_sent_once_and_every_answer_counted_once() -> None:
    async with tiny(lambda _: OK) as server:
        measured = await Generator(load(server.port, answer=BODY)).run()
    assert (measured.answered, measured.errors, len(server.requests)) == (100, 0, 100)
    assert 0 < measured.p50 <= measured.p90 <= measured.p99 <= measured.slowest < measured.elapsed
    assert measured.rate == pytest.approx(100 / measured.elapsed)


async def test_a_request_is_what_was_asked_for() -> None:
    async with tiny(lambda _: OK) as server:
        asked = load(server.port, 1, 1, method="PUT", headers={"Prefer": "wait=1"})
        await Generator(dataclasses.replace(asked, url=asked.url + "?device=cpu")).run()
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    assert line == "PUT /echo?device=cpu HTTP/1.1"
    assert sorted(headers) == [
        "Content-Length: 7",
        "Content-Type: application/json",
        f"Host: 127.0.0.1:{server.port}",
        "Prefer: wait=1",
    ]
    assert body == BODY


@pytest.mark.parametrize("connections", [1, 5, 16])
async def test_exactly_as_many_requests_are_in_flight_as_there_are_connections(
    connections: int,
) -> None:
    # The server answers nobody before `connections` requests wait: with fewer, it would hang.
    async with tiny(lambda _: OK, gather=connections) as server:
        measured = await Generator(load(server.port, connections, 10 * connections)).run()
    assert measured.answered == 10 * connections
    assert server.most_in_flight == connections


async def test_it_stops_when_its_time_is_over() -> None:
    async with tiny(lambda _: OK) as server:
        measured = await Generator(load(server.port, requests=None, seconds=0.2)).run()
    assert measured.answered == len(server.requests) > 0
    assert 0.2 <= measured.elapsed < 5


async def test_another_status_is_an_error_and_the_connection_goes_on() -> None:
    async with tiny(lambda number: OK if number % 4 else BROKEN) as server:
        measured = await Generator(load(server.port)).run()
    assert (measured.answered, measured.faults) == (75, {"status 500": 25})
    assert measured.errors == 25


async def test_the_expected_status_need_not_be_200() -> None:
    async with tiny(lambda _: BROKEN) as server:
        measured = await Generator(load(server.port, status=500)).run()
    assert (measured.answered, measured.errors) == (100, 0)


async def test_another_body_is_an_error() -> None:
    async with tiny(lambda number: OK if number % 4 else OK.replace(b"1}", b"2}")) as server:
        measured = await Generator(load(server.port, answer=BODY)).run()
    assert (measured.answered, measured.faults) == (75, {"another body than expected": 25})


async def test_a_dead_server_gives_errors_and_no_latencies() -> None:
    measured = await Generator(load(free_port(), connections=2, requests=6)).run()
    assert (measured.answered, measured.errors, measured.rate) == (0, 6, 0)
    assert [fault.partition(":")[0] for fault in measured.faults] == ["cannot connect"]
    assert math.isnan(measured.p50)


async def test_a_dead_server_does_not_hold_it_up_beyond_its_time() -> None:
    measured = await Generator(load(free_port(), requests=None, seconds=0.2)).run()
    assert measured.errors >= 4
    assert measured.elapsed < 5


async def test_a_connection_that_breaks_is_an_error_and_is_made_again() -> None:
    async with tiny(lambda number: b"" if number % 10 == 0 else OK) as server:
        measured = await Generator(load(server.port)).run()
    assert measured.answered == 90
    assert measured.faults == {"the connection was closed before the answer": 10}


async def test_an_answer_without_a_length_is_an_error() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with tiny(lambda _: chunked) as server:
        measured = await Generator(load(server.port, requests=8)).run()
    assert (measured.answered, measured.errors) == (0, 8)


async def test_a_server_that_never_answers_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed, "GRACE", 0.1)
    async with tiny(lambda _: OK, gather=5) as server:
        measured = await Generator(load(server.port, 4, None, seconds=0.1)).run()
    assert (measured.answered, measured.errors) == (0, 4)
    assert all(fault.startswith("no answer") for fault in measured.faults)


async def test_a_process_of_its_own_tells_the_same_and_its_cpu_time() -> None:
    async with tiny(lambda number: OK if number % 4 else BROKEN) as server:
        measured = await asyncio.to_thread(measure, load(server.port, answer=BODY))
    assert (measured.answered, measured.faults) == (75, {"status 500": 25})
    assert 0 < measured.cpu < 0.01


def test_the_report_gives_percentiles_of_the_latencies() -> None:
    generator = Generator(load(1))
    generator.latencies = array("d", [n / 1000 for n in range(200, 0, -1)])
    generator.faults["status 503"] = 50
    measured = generator.measured(elapsed=4.0, cpu=0.5)
    assert (measured.p50, measured.p90, measured.p99, measured.slowest) == (0.1, 0.18, 0.198, 0.2)
    assert (measured.answered, measured.errors, measured.rate) == (200, 50, 50)
    assert measured.cpu == 0.5 / 250


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(
    values: list[float], share: float
) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    enough = math.ceil(share * len(ordered))
    assert sum(value <= found for value in ordered) >= enough
    assert sum(value < found for value in ordered) < enough


@given(st.binary(max_size=40), st.lists(st.integers(1, 30), max_size=8), st.booleans())
def test_an_answer_in_any_pieces_is_one_answer(body: bytes, cuts: list[int], lower: bool) -> None:
    name = b"content-length" if lower else b"Content-Length"
    answer = b"HTTP/1.1 200 OK\r\nServer: x\r\n%s: %d\r\n\r\n%s" % (name, len(body), body)

    async def feed() -> int:
        generator = Generator(load(1, requests=1))
        assert generator.take()
        connection = Connection(generator)
        connection.connection_made(Deaf())
        rest = answer
        for cut in cuts:
            piece, rest = rest[:cut], rest[cut:]
            if piece:
                connection.data_received(piece)
        if rest:
            assert not generator.latencies
            connection.data_received(rest)
        assert not generator.faults
        return len(generator.latencies)

    assert asyncio.run(feed()) == 1


class Deaf(asyncio.Transport):
    """A transport that sends nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def abort(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False


words = st.text("abcXYZ019-_ {}\":,'=é", max_size=20)
names = st.text("abcXYZ-", min_size=1, max_size=10)


@given(
    st.builds(
        Load,
        url=st.just("http://127.0.0.1:80/invoke/noop?device=cpu"),
        connections=st.integers(1, 1000),
        seconds=st.floats(0.001, 1e4),
        requests=st.none() | st.integers(1, 10**6),
        method=st.sampled_from(["GET", "POST", "PUT"]),
        body=words,
        headers=st.dictionaries(names, words.map(str.strip), max_size=3),
        status=st.integers(200, 599),
        answer=st.none() | words,
    )
)
def test_a_load_survives_the_command_line(load: Load) -> None:
    assert parse(arguments(load)) == load
