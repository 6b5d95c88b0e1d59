"""One connection: what it tells of answers, whole and otherwise."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.answer import Answer
from loadtest.connection import MOST_KEPT, Connection
from loadtest.faults import Cut
from loadtest.turn import Turn
from tests.loadtest.standin import http

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Listener:
    """Keeps what a connection tells."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.errors: list[Exception] = []

    def answered(self, connection: Connection, answer: Answer, at: float) -> None:
        self.answers.append(answer)

    def lost(self, connection: Connection, error: Exception, at: float) -> None:
        self.errors.append(error)


class Loop:
    """A loop whose turns end at once."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()


def connected() -> tuple[Connection, Transport, Listener]:
    listener, transport = Listener(), Transport()
    connection = Connection(listener, Turn(cast(asyncio.AbstractEventLoop, Loop())))
    connection.connection_made(transport)
    return connection, transport, listener


def asked() -> tuple[Connection, Transport, Listener]:
    connection, transport, listener = connected()
    connection.send(REQUEST)
    return connection, transport, listener


def test_a_connection_is_free_again_after_its_answer() -> None:
    connection, transport, listener = asked()
    assert not connection.free
    connection.data_received(http(headers={"Server-Timing": "run;dur=1"}))
    assert connection.free
    connection.send(REQUEST)
    connection.data_received(http(status=204))
    assert transport.written == REQUEST * 2
    assert [answer.status for answer in listener.answers] == [200, 204]
    assert listener.answers[0].headers[b"server-timing"] == b"run;dur=1"


@given(st.data(), st.sampled_from([http(b"failed", 500), CHUNKED, http(b"", 500)]))
def test_an_answer_is_always_the_same_however_it_is_cut_up(data: st.DataObject, raw: bytes) -> None:
    whole, pieces = asked(), asked()
    whole[0].data_received(raw)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=6)))
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        assert not pieces[2].answers
        pieces[0].data_received(raw[begin:end])
    assert pieces[2].answers == whole[2].answers
    assert pieces[0].free
    assert whole[2].answers[0].body in (b"failed", b"abcdefg", b"")


def test_the_body_of_a_success_is_not_kept_and_that_of_a_failure_is_up_to_a_bound() -> None:
    connection, _, listener = asked()
    connection.data_received(http(b"x" * 100))
    connection.send(REQUEST)
    for piece in (http(b"x" * 300_000, 500)[at : at + 65_536] for at in range(0, 300_040, 65_536)):
        connection.data_received(piece)
    assert listener.answers[0].body == b""
    assert MOST_KEPT <= len(listener.answers[1].body) <= 2 * MOST_KEPT


def test_a_server_may_ask_to_close() -> None:
    connection, transport, listener = asked()
    connection.data_received(http(headers={"Connection": "close"}))
    assert [answer.status for answer in listener.answers] == [200]
    assert transport.closed
    assert connection.gone
    connection.connection_lost(None)
    assert not listener.errors


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    connection, _, listener = asked()
    connection.data_received(http(b"some", 500, length=False))
    assert not listener.answers
    connection.connection_lost(None)
    assert [answer.body for answer in listener.answers] == [b"some"]
    assert not listener.errors


def test_a_100_is_not_the_answer() -> None:
    connection, _, listener = asked()
    connection.data_received(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert not listener.answers
    connection.data_received(http(b"", 422))
    assert [answer.status for answer in listener.answers] == [422]


def test_what_is_not_http_is_a_bad_answer() -> None:
    connection, transport, listener = asked()
    connection.data_received(b"220 mail.example ESMTP\r\n")
    assert isinstance(listener.errors[0], httptools.HttpParserError)
    assert transport.closed


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_an_answer_that_is_cut_short_is_a_loss(error: Exception | None) -> None:
    connection, _, listener = asked()
    connection.data_received(http(b"whole")[:-2])
    connection.connection_lost(error)
    assert not listener.answers
    assert [type(each) for each in listener.errors] == [type(error) if error else Cut]


def test_more_than_was_asked_for_ends_the_connection_and_keeps_the_answer() -> None:
    connection, transport, listener = asked()
    connection.data_received(http() + http(status=500))
    assert [answer.status for answer in listener.answers] == [200]
    assert transport.closed


def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    connection, transport, listener = connected()
    connection.data_received(http())
    assert not listener.answers
    assert transport.closed
    assert isinstance(listener.errors[0], Cut)


def test_a_loss_is_told_once() -> None:
    connection, _, listener = asked()
    connection.give_up(TimeoutError())
    connection.give_up(TimeoutError())
    connection.data_received(http())
    connection.connection_lost(cast(Exception, None))
    assert [type(each) for each in listener.errors] == [TimeoutError]
