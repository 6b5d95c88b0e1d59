"""The hot path: byte for byte pika's frames, and what pika would have told, however bytes come.

The first half speaks to a server made of pika's own encoder, on a loop that runs by hand; the
second half to a real RabbitMQ.
"""

import asyncio
import errno
import itertools
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pika  # type: ignore[import-untyped]
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from pika import exceptions, frame, spec
from pika.adapters.asyncio_connection import AsyncioConnection  # type: ignore[import-untyped]
from pika.adapters.utils.io_services_utils import (  # type: ignore[import-untyped]
    _AsyncTransportBase,
)

from runtime.brokers.fast import FastConnection, Hot, Plain, fast_connection_class, open_hot
from runtime.brokers.properties import encode_properties, headers, message_id, reply_to

FRAME_MAX = 4096  # the least that AMQP allows, so that small bodies are of many frames
ROOM = FRAME_MAX - 8  # bytes of body in a frame
HEARTBEAT = 60  # seconds
Event = tuple[Any, ...]
PROPERTY = settings(deadline=None)  # a busy machine is no failure


class Recorder:
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches = 0
        self.on_batch: Callable[[], object] = lambda: None
        self.on_each: Callable[[Event], object] = lambda _: None

    def on_delivery(self, *told: Any) -> None:
        self._tell(("delivery", *told))

    def on_confirm(self, *told: Any) -> None:
        self._tell(("confirm", *told))

    def on_return(self, *told: Any) -> None:
        self._tell(("return", *told))

    def on_batch_end(self) -> None:
        self.batches += 1
        self.on_batch()

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.on_each(event)


# ── a server by hand ──────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Timer:
    delay: float
    call: Callable[[], object]
    loop: "Loop"

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


@dataclass
class Loop:
    """As much of an event loop as a pika connection uses; `turn` runs what is due."""

    soon: list[Callable[[], object]] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)

    def call_soon(self, call: Callable[[], object]) -> None:
        self.soon.append(call)

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        self.timers.append(Timer(delay, call, self))
        return self.timers[-1]

    def turn(self) -> None:
        due, self.soon = self.soon, []
        for call in due:
            call()

    def fire(self, delay: float) -> None:
        """Let a timer of that many seconds go off."""
        timer = next(timer for timer in self.timers if timer.delay == delay)
        timer.cancel()
        timer.call()


class Wire:
    """pika's transport, whose other end is the test."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.kinds: set[type] = set()  # of what was written
        self.aborted = False
        self.given_up = False  # by the loop
        self.fault = 0  # of its socket
        self._sock = self

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self.fault

    def _initiate_abort(self, error: BaseException) -> None:
        self.aborted = True

    def write(self, data: bytes | memoryview) -> None:
        assert data
        if self.given_up:
            raise RuntimeError("the handler is closed")
        self.kinds.add(type(data))
        self.writes.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True


class Line:
    """An open connection to a server by hand, on either class."""

    def __init__(self, quick: bool, frame_max: int = FRAME_MAX) -> None:
        self.loop, self.wire = Loop(), Wire()
        self.connection = fast_connection_class(quick)(
            pika.ConnectionParameters(),
            custom_ioloop=self.loop,
            internal_connection_workflow=False,
        )
        self.lost: list[Exception] = []
        self.connection.add_on_close_callback(lambda _, error: self.lost.append(error))
        self.connection._proto_connection_made(self.wire)
        self.say(0, spec.Connection.Start(server_properties=_SERVER, mechanisms="PLAIN"))
        self.say(0, spec.Connection.Tune(2047, frame_max, HEARTBEAT))
        self.say(0, spec.Connection.OpenOk())
        assert self.connection.is_open
        self.sent()

    def channel(self) -> Any:
        channel = self.connection.channel()
        self.say(channel.channel_number, spec.Channel.OpenOk())
        assert channel.is_open
        self.sent()
        return channel

    def consume(self, channel: Any, tag: str, on_message: Callable[..., None]) -> None:
        channel.basic_consume("queue", on_message, consumer_tag=tag)
        self.say(channel.channel_number, spec.Basic.ConsumeOk(tag))
        self.sent()

    def say(self, number: int, *methods: Any) -> None:
        """The server sends methods."""
        self.feed(b"".join(method_frame(number, method) for method in methods))

    def feed(self, data: bytes) -> None:
        """The server's bytes, as one read; then the loop turns."""
        self.connection._proto_data_received(data)
        self.loop.turn()

    def sent(self) -> bytes:
        """All that the connection wrote since it was asked."""
        self.loop.turn()
        data = b"".join(self.wire.writes)
        self.wire.writes.clear()
        return data

    def lose(self) -> None:
        """The connection breaks."""
        self.connection._proto_connection_lost(OSError("gone"))


_SERVER = {"capabilities": {"basic.nack": True, "publisher_confirms": True}}


def method_frame(number: int, method: Any) -> bytes:
    data: bytes = frame.Method(number, method).marshal()
    return data


def content_frames(
    number: int, method: Any, properties: Any, body: bytes, room: int = ROOM
) -> list[bytes]:
    parts = [body[at : at + room] for at in range(0, len(body), room)]
    return [
        method_frame(number, method),
        frame.Header(number, len(body), properties).marshal(),
        *(frame.Body(number, part).marshal() for part in parts),
    ]


def deliver(tag: int, consumer: str = "c1", key: str = "queue", again: bool = False) -> Any:
    return spec.Basic.Deliver(consumer, tag, again, "", key)


def message(number: int, tag: int, body: bytes, **deliver_options: Any) -> bytes:
    properties = spec.BasicProperties(message_id=f"m{tag}")
    return b"".join(content_frames(number, deliver(tag, **deliver_options), properties, body))


@pytest.fixture
def line() -> Line:
    return Line(quick=True)


@pytest.fixture(params=[True, False], ids=["hot", "plain"])
def either(request: pytest.FixtureRequest) -> Line:
    return Line(quick=request.param)


def opened(line: Line, consumer: str = "c1") -> tuple[Any, Recorder, Plain]:
    """A channel with a handler, and a consumer with this tag."""
    channel, recorder = line.channel(), Recorder()
    path = open_hot(channel, recorder)
    line.consume(channel, consumer, path.on_message)
    return channel, recorder, path


# ── which way ─────────────────────────────────────────────────────────────────────────────────


def test_the_pika_that_is_installed_is_known() -> None:
    assert fast_connection_class() is FastConnection


def test_another_pika_and_a_flag_step_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fast_connection_class(fast=False) is AsyncioConnection
    monkeypatch.setattr(pika, "__version__", "1.4.5")
    assert fast_connection_class() is AsyncioConnection


def test_a_channel_gets_what_its_connection_allows(either: Line) -> None:
    path = open_hot(either.channel(), Recorder())
    assert type(path) is (Hot if isinstance(either.connection, FastConnection) else Plain)


# ── out ───────────────────────────────────────────────────────────────────────────────────────

NAMES = st.text(max_size=40)
HEADERS = st.dictionaries(NAMES, NAMES | st.integers(-(2**63), 2**63 - 1), max_size=3)
EDGES = [0, 1, ROOM - 1, ROOM, ROOM + 1, 2 * ROOM - 1, 2 * ROOM, 2 * ROOM + 1]
SIZES = st.sampled_from(EDGES) | st.integers(0, 3 * ROOM)


@PROPERTY
@given(NAMES, NAMES, SIZES, st.booleans(), NAMES, st.none() | HEADERS)
def test_a_publish_is_always_byte_for_byte_pikas(
    exchange: str, key: str, size: int, mandatory: bool, name: str, headers: dict[str, Any] | None
) -> None:
    ours, theirs = Line(quick=True), Line(quick=False)
    body = os.urandom(size)
    path, channel = open_hot(ours.channel(), Recorder()), theirs.channel()
    block = encode_properties(message_id=name, headers=headers, delivery_mode=2)
    properties = spec.BasicProperties(message_id=name, headers=headers, delivery_mode=2)
    for _ in range(2):  # the second one from what is remembered
        path.publish(exchange, key, block, body, mandatory)
        channel.basic_publish(exchange, key, body, properties, mandatory)
    assert ours.sent() == theirs.sent()
    assert ours.connection.frames_sent == theirs.connection.frames_sent
    assert ours.connection.bytes_sent == theirs.connection.bytes_sent


@PROPERTY
@given(st.integers(0, 2**64 - 1), st.booleans(), st.booleans())
def test_a_settlement_is_always_byte_for_byte_pikas(tag: int, multiple: bool, again: bool) -> None:
    ours, theirs = Line(quick=True), Line(quick=False)
    path, channel = open_hot(ours.channel(), Recorder()), theirs.channel()
    path.ack(tag, multiple)
    path.nack(tag, again, multiple)
    path.reject(tag, again)
    channel.basic_ack(tag, multiple)
    channel.basic_nack(tag, multiple, again)
    channel.basic_reject(tag, again)
    assert ours.sent() == theirs.sent()


def test_plain_publishes_and_settles_what_hot_does() -> None:
    lines = [Line(quick=True), Line(quick=False)]
    for line in lines:
        path = open_hot(line.channel(), Recorder())
        block = encode_properties(message_id="m", headers={"a": 1}, priority=3, expiration="10")
        path.publish("here", "there", block, b"x" * 5000, True)
        path.publish("\udcff", "\udcfe", block, b"")
        path.ack(1, True)
        path.nack(2, False, True)
        path.reject(3, False)
    assert lines[0].sent() == lines[1].sent()


def test_all_frames_of_a_turn_leave_in_one_write_in_their_order(line: Line) -> None:
    channel, other = line.channel(), line.channel()
    path = open_hot(channel, Recorder())
    block = encode_properties()
    path.publish("", "a", block, b"1")
    channel.basic_qos(prefetch_count=7)  # pika's own
    path.publish("", "a", block, b"2" * 5000)
    other.basic_publish("", "b", b"3")  # of a channel that is all pika's
    path.ack(9)
    assert line.wire.writes == []
    line.loop.turn()
    published = [
        content_frames(number, spec.Basic.Publish(0, "", key), spec.BasicProperties(), body)
        for number, key, body in ((1, "a", b"1"), (1, "a", b"2" * 5000), (2, "b", b"3"))
    ]
    assert line.wire.writes == [
        b"".join(published[0])
        + method_frame(1, spec.Basic.Qos(0, 7, False))
        + b"".join(published[1])
        + b"".join(published[2])
        + method_frame(1, spec.Basic.Ack(9))
    ]
    path.ack(10)
    line.loop.turn()
    assert len(line.wire.writes) == 2


def test_what_is_written_can_be_cut_off_without_a_copy(line: Line) -> None:
    # pika's transport slices off what the socket took: of 64 MiB, a few hundred times.
    open_hot(line.channel(), Recorder()).publish("", "a", encode_properties(), b"x" * 50_000)
    line.sent()
    assert line.wire.kinds == {memoryview}


def test_what_was_not_written_goes_with_the_connection(line: Line) -> None:
    path = open_hot(line.channel(), Recorder())
    path.ack(1)
    line.lose()
    assert line.sent() == b""
    assert line.connection.is_closed


def test_names_that_are_too_long_are_refused_and_not_counted(either: Line) -> None:
    path = open_hot(either.channel(), Recorder())
    path.select_confirms(lambda: None)
    either.say(1, spec.Confirm.SelectOk())
    with pytest.raises(exceptions.ShortStringTooLong):
        path.publish("", "x" * 256, encode_properties(), b"")
    assert path.publish("", "x" * 255, encode_properties(), b"") == 1


def test_a_channel_that_is_not_open_takes_nothing(either: Line) -> None:
    channel, _, path = opened(either)
    channel.close()
    either.sent()
    for call in (
        lambda: path.publish("", "a", encode_properties(), b""),
        lambda: path.ack(1),
        lambda: path.nack(1),
        lambda: path.reject(1),
    ):
        with pytest.raises(exceptions.ChannelWrongStateError):
            call()
    assert either.sent() == b""


def test_a_channel_that_is_closed_has_no_hot_path(either: Line) -> None:
    channel = either.channel()
    either.say(1, spec.Channel.Close(404, "NOT_FOUND", 0, 0))
    with pytest.raises(exceptions.ChannelWrongStateError):
        open_hot(channel, Recorder())


def test_publishes_are_numbered_once_confirms_are_on(either: Line) -> None:
    path, told = open_hot(either.channel(), Recorder()), []
    block = encode_properties()
    assert [path.publish("", "a", block, b"") for _ in range(2)] == [0, 0]
    path.select_confirms(lambda: told.append("on"))
    with pytest.raises(exceptions.ChannelWrongStateError, match="not on yet"):
        path.publish("", "a", block, b"")
    assert told == []
    either.say(1, spec.Confirm.SelectOk())
    assert told == ["on"]
    assert [path.publish("", "a", block, b"") for _ in range(3)] == [1, 2, 3]


# ── in ────────────────────────────────────────────────────────────────────────────────────────

CONTENTS = st.tuples(SIZES, NAMES, st.none() | HEADERS)
TAGS = st.integers(0, 2**64 - 1)
CODES = st.integers(0, 2**16 - 1)
SAID = st.one_of(  # by the server, on one channel
    st.tuples(
        st.builds(spec.Basic.Deliver, st.just("c1"), TAGS, st.booleans(), NAMES, NAMES), CONTENTS
    ),
    st.tuples(st.builds(spec.Basic.Return, CODES, NAMES, NAMES, NAMES), CONTENTS),
    st.tuples(st.builds(spec.Basic.Ack, TAGS, st.booleans()), st.none()),
    st.tuples(st.builds(spec.Basic.Nack, TAGS, st.booleans(), st.booleans()), st.none()),
    st.tuples(st.builds(spec.Basic.Cancel, st.just("stranger")), st.none()),
)


def frames_of(number: int, method: Any, content: tuple[int, str, Any] | None) -> list[bytes]:
    if content is None:
        return [method_frame(number, method)]
    size, name, headers = content
    properties = spec.BasicProperties(message_id=name, headers=headers, reply_to=name)
    return content_frames(number, method, properties, os.urandom(size))


def interleaved(talks: list[list[bytes]], random: Any) -> bytes:
    """The frames of several channels in one stream, each channel's in order; and heartbeats."""
    talks = [talk for talk in [*map(list, talks), [frame.Heartbeat().marshal()] * 2] if talk]
    stream = b""
    while talks:
        talk = random.choice(talks)
        stream += talk.pop(0)
        talks = [talk for talk in talks if talk]
    return stream


def hear(line: Line, reads: list[bytes]) -> list[Event]:
    """All that a client with two handlers, and a channel without, is told by these reads."""
    everything: list[Event] = []

    def note(number: int, skip: int = 0) -> Callable[..., None]:
        return lambda *told: everything.append((number, *told[skip:]))

    for number in (1, 2):
        channel, recorder, path = opened(line)
        recorder.on_each = note(number)
        channel.add_on_cancel_callback(note(number))
        path.select_confirms(lambda: None)
        line.say(number, spec.Confirm.SelectOk())
    channel = line.channel()
    line.consume(channel, "c1", note(3, skip=1))
    channel.add_on_return_callback(note(3, skip=1))
    channel.add_on_cancel_callback(note(3))
    channel.confirm_delivery(note(3))
    for read in reads:
        line.feed(read)
    return everything


@PROPERTY
@given(
    st.lists(st.tuples(st.integers(1, 3), SAID), max_size=8),
    st.randoms(),
    st.lists(st.integers(1, 3 * FRAME_MAX) | st.integers(1, 12), min_size=1, max_size=30),
)
def test_what_is_told_is_always_what_pika_tells_however_it_is_cut(
    said: list[tuple[int, Any]], random: Any, cuts: list[int]
) -> None:
    talks: list[list[bytes]] = [[], [], []]
    for number, (method, content) in said:
        talks[number - 1] += frames_of(number, method, content)
    stream, reads = interleaved(talks, random), []
    for size in itertools.cycle(cuts):
        if not stream:
            break
        reads.append(stream[:size])
        stream = stream[size:]
    ours, theirs = Line(quick=True), Line(quick=False)
    assert hear(ours, reads) == hear(theirs, reads)
    assert ours.connection.frames_received == theirs.connection.frames_received
    assert ours.connection.bytes_received == theirs.connection.bytes_received


def test_a_stream_of_single_bytes_and_one_read_tell_the_same() -> None:
    stream = b"".join(message(1, tag, b"x" * size) for tag, size in enumerate(EDGES))
    one, many = Line(quick=True), Line(quick=True)
    told = hear(one, [stream])
    assert [len(event[-1][-1]) for event in told] == EDGES
    assert hear(many, [bytes((byte,)) for byte in stream]) == told


def test_a_delivery_is_told_with_all_that_it_is(either: Line) -> None:
    _, recorder, _ = opened(either)
    method = spec.Basic.Deliver("c1", 7, True, "an exchange", "a.key")
    properties = spec.BasicProperties(message_id="m7", headers={"x-delivery-count": 3})
    either.feed(b"".join(content_frames(1, method, properties, b"body")))
    block = b"".join(properties.encode())
    assert recorder.events == [("delivery", "c1", 7, True, "an exchange", "a.key", block, b"body")]
    assert type(recorder.events[0][-1]) is bytes


def test_names_that_are_no_text_are_told_as_text_and_leave_as_they_came(either: Line) -> None:
    _, recorder, path = opened(either)
    method = spec.Basic.Deliver("c1", 1, False, b"\xff", b"\xfe\xfd")
    either.feed(b"".join(content_frames(1, method, spec.BasicProperties(), b"")))
    (_, _, _, _, exchange, key, block, body) = recorder.events[0]
    assert (exchange, key) == ("\udcff", "\udcfe\udcfd")
    path.publish(exchange, key, block, body)
    publish = spec.Basic.Publish(0, b"\xff", b"\xfe\xfd")
    assert either.sent() == b"".join(content_frames(1, publish, spec.BasicProperties(), b""))


def test_a_message_got_by_hand_goes_to_who_asked_for_it(line: Line) -> None:
    channel, recorder, _ = opened(line)
    got: list[bytes] = []
    channel.basic_get("queue", lambda *told: got.append(told[-1]))
    frames = content_frames(1, spec.Basic.GetOk(5, False, "", "queue", 0), _NONE, b"x" * 5000)
    line.feed(b"".join(frames) + message(1, 6, b"pushed"))
    assert got == [b"x" * 5000]
    assert [event[-1] for event in recorder.events] == [b"pushed"]


_NONE = spec.BasicProperties()


def test_a_message_that_began_before_the_handler_came_goes_to_it_too(line: Line) -> None:
    channel, recorder = line.channel(), Recorder()
    paths: list[Plain] = []
    line.consume(channel, "c1", lambda *told: paths[0].on_message(*told))
    frames = content_frames(1, deliver(1), _NONE, b"x" * 5000)
    line.feed(frames[0] + frames[1])
    paths.append(open_hot(channel, recorder))
    line.feed(b"".join(frames[2:]) + message(1, 2, b"two"))
    assert [event[-1] for event in recorder.events] == [b"x" * 5000, b"two"]


def test_deliveries_in_the_read_that_starts_the_consumer_arrive(line: Line) -> None:
    channel, recorder = line.channel(), Recorder()
    channel.basic_consume(
        "queue", print, consumer_tag="c1", callback=lambda _: open_hot(channel, recorder)
    )
    line.feed(method_frame(1, spec.Basic.ConsumeOk("c1")) + message(1, 1, b"one"))
    assert [event[-1] for event in recorder.events] == [b"one"]


def test_a_read_takes_more_than_pikas_would_and_is_one(line: Line) -> None:
    for name, value in (("_MAX_RECV_BYTES", 64 * 1024), ("_MAX_CONSUME_BYTES", 1)):
        assert hasattr(_AsyncTransportBase, name)
        assert getattr(line.wire, name) == value


def test_a_socket_that_was_reset_is_noticed_though_there_was_something_to_read(line: Line) -> None:
    _, recorder, _ = opened(line)
    line.feed(message(1, 1, b"one"))
    assert not line.wire.aborted
    line.wire.fault = errno.ECONNRESET
    line.feed(message(1, 2, b"two"))
    assert line.wire.aborted
    assert [event[-1] for event in recorder.events] == [b"one"]
    assert hasattr(_AsyncTransportBase, "_initiate_abort")


def test_a_socket_that_the_loop_has_given_up_is_noticed_by_the_next_write(line: Line) -> None:
    line.wire.given_up = True
    line.connection.channel()
    line.loop.turn()
    assert line.wire.aborted


def test_a_large_body_comes_in_small_reads_without_being_copied_over_and_over() -> None:
    line = Line(quick=True, frame_max=0)
    _, recorder, _ = opened(line)
    size = 64 * 1024 * 1024
    body = os.urandom(1024) * (size // 1024)
    stream = b"".join(content_frames(1, deliver(1), _NONE, body, room=size // 2))
    for at in range(0, len(stream), 4096):  # 16 384 of them: copying all each time takes minutes
        line.feed(stream[at : at + 4096])
    assert recorder.events[0][-1] == body


# ── batches ───────────────────────────────────────────────────────────────────────────────────


def test_a_batch_ends_after_each_read_for_those_who_were_told_something(line: Line) -> None:
    _, one, _ = opened(line)
    _, two, _ = opened(line)
    _, idle, _ = opened(line)
    seen: list[tuple[int, int]] = []
    one.on_batch = lambda: seen.append((len(one.events), len(two.events)))
    line.feed(message(1, 1, b"a") + message(2, 1, b"b") + message(1, 2, b"c") + message(2, 2, b""))
    assert seen == [(2, 2)]
    assert (one.batches, two.batches, idle.batches) == (1, 1, 0)
    whole = message(1, 3, b"half")
    line.feed(whole[:-3])
    assert one.batches == 1
    line.feed(whole[-3:])
    assert one.batches == 2
    line.say(2, spec.Basic.Ack(1))
    assert two.batches == 2


def test_plain_ends_a_batch_once_in_a_turn() -> None:
    line = Line(quick=False)
    _, recorder, _ = opened(line)
    line.feed(message(1, 1, b"a") + message(1, 2, b"b"))
    assert (len(recorder.events), recorder.batches) == (2, 1)
    line.feed(message(1, 3, b"c"))
    assert (len(recorder.events), recorder.batches) == (3, 2)


def test_acks_gathered_at_the_end_of_a_batch_leave_with_what_was_published(line: Line) -> None:
    _, recorder, path = opened(line)
    recorder.on_each = lambda event: path.publish("", "reply", encode_properties(), event[-1])
    recorder.on_batch = lambda: path.ack(recorder.events[-1][2], True)
    line.feed(message(1, 1, b"a") + message(1, 2, b"b"))
    assert len(line.wire.writes) == 1
    assert line.wire.writes[0].endswith(method_frame(1, spec.Basic.Ack(2, True)))


# ── ends ──────────────────────────────────────────────────────────────────────────────────────


def test_deliveries_after_a_cancel_are_told_until_it_is_answered(line: Line) -> None:
    channel, recorder, path = opened(line)
    cancelled: list[Any] = []
    channel.basic_cancel("c1", cancelled.append)
    line.feed(message(1, 1, b"late") + method_frame(1, spec.Basic.CancelOk("c1")))
    assert [event[-1] for event in recorder.events] == [b"late"]
    assert len(cancelled) == 1
    assert channel.consumer_tags == []
    path.nack(1)
    assert line.sent().endswith(method_frame(1, spec.Basic.Nack(1, False, True)))


def test_the_servers_cancel_is_pikas_to_tell(either: Line) -> None:
    channel, recorder, _ = opened(either)
    cancelled: list[str] = []
    channel.add_on_cancel_callback(lambda it: cancelled.append(it.method.consumer_tag))
    either.feed(message(1, 1, b"last") + method_frame(1, spec.Basic.Cancel("c1")))
    assert cancelled == ["c1"]
    assert channel.consumer_tags == []
    assert [event[-1] for event in recorder.events] == [b"last"]


def test_a_channel_closed_by_the_server_tells_nothing_more(either: Line) -> None:
    channel, recorder, _ = opened(either)
    reasons: list[Any] = []
    channel.add_on_close_callback(lambda _, reason: reasons.append(reason))
    closed = method_frame(1, spec.Channel.Close(406, "PRECONDITION_FAILED", 60, 80))
    either.feed(message(1, 1, b"last") + closed + message(1, 2, b"never"))
    assert [event[-1] for event in recorder.events] == [b"last"]
    assert (recorder.batches, reasons[0].reply_code) == (0, 406)
    assert either.sent() == method_frame(1, spec.Channel.CloseOk())


def test_a_channel_that_takes_the_number_of_a_closed_one_is_another(either: Line) -> None:
    channel, old, _ = opened(either)
    half = message(1, 1, b"x" * 5000)[:4500]
    either.feed(half + message(1, 1, b"x" * 5000)[4500:])
    either.say(1, spec.Basic.Ack(1), spec.Channel.Close(404, "NOT_FOUND", 0, 0))
    channel, new, _ = opened(either, "c2")
    assert channel.channel_number == 1
    count = len(old.events)
    either.feed(message(1, 1, b"for the new one", consumer="c2"))
    assert [event[-1] for event in new.events] == [b"for the new one"]
    assert len(old.events) == count


def test_a_channel_without_a_handler_takes_the_number_of_one_that_had_one(either: Line) -> None:
    _, old, _ = opened(either)
    either.say(1, spec.Channel.Close(404, "NOT_FOUND", 0, 0))
    got: list[bytes] = []
    either.consume(either.channel(), "c2", lambda *told: got.append(told[-1]))
    either.feed(message(1, 1, b"pika's", consumer="c2"))
    assert (got, old.events) == ([b"pika's"], [])


def test_a_closing_channel_is_told_of_confirms_but_of_no_delivery(either: Line) -> None:
    channel, recorder, path = opened(either)
    path.select_confirms(lambda: None)
    either.say(1, spec.Confirm.SelectOk())
    channel.close()
    back = b"".join(content_frames(1, spec.Basic.Return(312, "NO_ROUTE", "", "a"), _NONE, b"back"))
    either.feed(message(1, 1, b"never") + back + method_frame(1, spec.Basic.Ack(4, True)))
    assert recorder.events == [
        ("return", 312, "NO_ROUTE", "", "a", encode_properties(), b"back"),
        ("confirm", 4, True, True),
    ]
    assert recorder.batches == 0
    either.say(1, spec.Channel.CloseOk())
    assert channel.is_closed


def test_who_closes_in_a_callback_gets_nothing_more_of_that_read(either: Line) -> None:
    channel, recorder, _ = opened(either)
    recorder.on_each = lambda _: channel.close()
    either.feed(message(1, 1, b"one") + message(1, 2, b"two"))
    assert [event[-1] for event in recorder.events] == [b"one"]


@pytest.mark.parametrize("at", [3, 9, 30, 60, 4100, -1])
def test_a_connection_lost_within_a_message_drops_its_part(line: Line, at: int) -> None:
    channel, recorder, _ = opened(line)
    line.feed(message(1, 1, b"x" * 5000)[:at])
    line.lose()
    assert recorder.events == []
    assert (channel.is_closed, len(line.lost)) == (True, 1)
    assert line.connection.hot == {}
    assert line.connection._tail == []


def test_a_handler_that_raises_ends_the_read(line: Line) -> None:
    _, recorder, _ = opened(line)

    def fail(_: Event) -> None:
        raise RuntimeError("a handler must not")

    recorder.on_each = fail
    with pytest.raises(RuntimeError, match="must not"):
        line.feed(message(1, 1, b"one") + message(1, 2, b"two"))
    assert len(recorder.events) == 1


# ── what is no AMQP ───────────────────────────────────────────────────────────────────────────


def test_a_server_of_another_version_is_left_to_pika(either: Line) -> None:
    either.feed(b"AMQP\x00")
    either.feed(b"\x00\x09\x01" + method_frame(0, spec.Connection.Blocked("memory")))
    assert either.connection.frames_received == 4


@pytest.mark.parametrize("number", [1, 2], ids=["hot", "pikas"])
def test_a_frame_without_its_end_breaks_the_connection(line: Line, number: int) -> None:
    _, recorder, _ = opened(line)
    line.channel()
    with pytest.raises(exceptions.InvalidFrameError):
        line.feed(method_frame(number, spec.Basic.Ack(1))[:-1] + b"?")
    assert recorder.events == []


def test_a_frame_of_an_unknown_type_breaks_the_connection(either: Line) -> None:
    opened(either)
    with pytest.raises(exceptions.InvalidFrameError):
        either.feed(b"\x05" + method_frame(1, spec.Basic.Ack(1))[1:])


def test_frames_out_of_order_break_the_connection() -> None:
    method, header, body = content_frames(1, deliver(1), _NONE, b"body")
    cases = [
        (method + header + method, exceptions.UnexpectedFrameError),
        (method + header + header, exceptions.UnexpectedFrameError),
        (method + body, exceptions.UnexpectedFrameError),
        (method + header + b"\x05" + body[1:], exceptions.InvalidFrameError),
        (method + header + frame.Body(1, b"bodies").marshal(), exceptions.BodyTooLongError),
    ]
    for stream, error in cases:
        line = Line(quick=True)
        _, recorder, _ = opened(line)
        with pytest.raises(error):
            line.feed(stream)
        assert recorder.events == []


# ── heartbeats ────────────────────────────────────────────────────────────────────────────────


def test_a_part_of_a_message_counts_as_a_sign_of_life(line: Line) -> None:
    opened(line)
    check = HEARTBEAT + 5
    stream = message(1, 1, b"x" * 4000)
    for at in (1000, 2000, 3000):
        line.feed(stream[at - 1000 : at])
        line.loop.fire(check)
    assert not line.wire.aborted
    line.loop.fire(check)
    assert line.wire.aborted


def test_our_heartbeats_leave_with_all_else(line: Line) -> None:
    path = open_hot(line.channel(), Recorder())
    path.ack(1)
    line.loop.fire(HEARTBEAT / 2)
    assert line.sent() == method_frame(1, spec.Basic.Ack(1)) + frame.Heartbeat().marshal()


# ── a real server ─────────────────────────────────────────────────────────────────────────────

WAYS: dict[str, tuple[bool, Callable[[], asyncio.AbstractEventLoop]]] = {
    "hot": (True, asyncio.new_event_loop),
    "hot-uvloop": (True, uvloop.new_event_loop),
    "plain": (False, asyncio.new_event_loop),
}
LIMIT = 20.0  # seconds anything may take
Main = Callable[["Client"], Coroutine[Any, Any, None]]


class Client:
    """A connection to the server, and what its callbacks say as things to await."""

    def __init__(self, connection: Any, url: str) -> None:
        self.connection = connection
        self.url = url
        self.closed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        connection.add_on_close_callback(lambda _, error: self.closed.set_result(error))

    @classmethod
    async def connect(cls, url: str, quick: bool) -> "Client":
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        fast_connection_class(quick)(
            pika.URLParameters(url),
            on_open_callback=opened.set_result,
            on_open_error_callback=lambda _, error: opened.set_exception(error),
        )
        return cls(await asyncio.wait_for(opened, LIMIT), url)

    async def call(self, start: Callable[[Callable[..., None]], object]) -> Any:
        """What a call of pika's answers to the callback that `start` gives it."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        start(lambda *answer: answered.set_result(answer[0] if answer else None))
        return await asyncio.wait_for(answered, LIMIT)

    async def channel(self) -> "Lane":
        return Lane(self, await self.call(lambda done: self.connection.channel(None, done)))

    async def close(self) -> None:
        if self.connection.is_open:
            self.connection.close()
        await asyncio.wait_for(self.closed, LIMIT)


class Lane(Recorder):
    """A channel with its hot path, where one may wait for what is told."""

    def __init__(self, client: Client, channel: Any) -> None:
        super().__init__()
        self.client, self.channel = client, channel
        self.path = open_hot(channel, self)
        self.closed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        channel.add_on_close_callback(lambda _, error: self.closed.set_result(error))
        self._more = asyncio.Event()
        self.on_each = lambda _: self._more.set()

    async def until(self, met: Callable[[list[Event]], bool]) -> list[Event]:
        """All that was told, once that is so of it."""
        async with asyncio.timeout(LIMIT):
            while not met(self.events):
                self._more.clear()
                await self._more.wait()
        return self.events

    async def told(self, count: int) -> list[Event]:
        return await self.until(lambda events: len(events) >= count)

    async def queue(self, name: str = "", **options: Any) -> str:
        """A new queue; its name."""
        answer = await self.client.call(
            lambda done: self.channel.queue_declare(name, callback=done, **options)
        )
        return str(answer.method.queue)

    async def consume(self, queue: str, prefetch: int = 0) -> str:
        """The tag of a new consumer."""
        call = self.client.call
        await call(lambda done: self.channel.basic_qos(prefetch_count=prefetch, callback=done))
        answer = await call(
            lambda done: self.channel.basic_consume(queue, self.path.on_message, callback=done)
        )
        return str(answer.method.consumer_tag)

    async def settled(self) -> None:
        """Wait until the server has answered something that was asked after all else."""
        await self.client.call(lambda done: self.channel.basic_qos(callback=done))

    async def ready(self, queue: str) -> int:
        """How many messages of a queue wait."""
        answer = await self.client.call(
            lambda done: self.channel.queue_declare(queue, passive=True, callback=done)
        )
        return int(answer.method.message_count)


@pytest.fixture(params=WAYS)
def live(request: pytest.FixtureRequest, rabbit_url: str) -> Iterator[Callable[[Main], None]]:
    """Run a test's coroutine with a client of the server, on each way and loop."""
    quick, new_loop = WAYS[request.param]

    async def with_client(main: Main) -> None:
        client = await Client.connect(rabbit_url, quick)
        try:
            await main(client)
        finally:
            await client.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        yield lambda main: runner.run(with_client(main))


def test_bodies_of_all_sizes_come_back_as_they_went(live: Callable[[Main], None]) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        room = client.connection.params.frame_max - 8
        sizes = [0, 1, 4095, 4096, 4097, room - 1, room, room + 1, 2 * room, 2**20]
        bodies = [os.urandom(size) for size in sizes]
        queue = await lane.queue(exclusive=True)
        await lane.consume(queue)
        for body in bodies:
            block = encode_properties(message_id=f"{len(body)}", headers={"n": len(body)})
            lane.path.publish("", queue, block, body)
        told = await lane.told(len(bodies))
        assert [event[-1] for event in told] == bodies
        assert [message_id(event[-2]) for event in told] == [f"{size}" for size in sizes]
        assert [headers(event[-2]) for event in told] == [{"n": size} for size in sizes]
        assert [event[2] for event in told] == list(range(1, len(sizes) + 1))
        assert {event[3:6] for event in told} == {(False, "", queue)}
        lane.path.ack(len(sizes), True)
        await lane.settled()

    live(main)


def test_a_body_of_64_mib_comes_back_as_it_went(live: Callable[[Main], None]) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        queue = await lane.queue(exclusive=True)
        await lane.consume(queue)
        body = os.urandom(2**20) * 64
        lane.path.publish("", queue, encode_properties(), body)
        assert (await lane.told(1))[0][-1] == body

    live(main)


def test_a_mandatory_message_without_a_queue_returns_before_it_is_confirmed(
    live: Callable[[Main], None],
) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        await client.call(lane.path.select_confirms)
        block = encode_properties(message_id="m1")
        assert lane.path.publish("", "no.such.queue", block, b"x" * 200_000, True) == 1
        assert await lane.told(2) == [
            ("return", 312, "NO_ROUTE", "", "no.such.queue", block, b"x" * 200_000),
            ("confirm", 1, False, True),
        ]

    live(main)


def test_every_publish_is_confirmed_once(live: Callable[[Main], None]) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        queue = await lane.queue("q", durable=True, arguments={"x-queue-type": "quorum"})
        await client.call(lane.path.select_confirms)
        open_ = set()
        for _ in range(1000):
            open_.add(lane.path.publish("", queue, encode_properties(), b"x"))
        seen: list[int] = []

        def settle(events: list[Event]) -> bool:
            for _, tag, multiple, ok in events:
                assert ok
                covered = {number for number in open_ if number <= tag} if multiple else {tag}
                assert covered <= open_
                seen.extend(covered)
                open_.difference_update(covered)
            events.clear()
            return not open_

        await lane.until(settle)
        assert sorted(seen) == list(range(1, 1001))
        assert await lane.ready(queue) == 1000

    live(main)


def test_a_refused_publish_is_told_as_such(live: Callable[[Main], None]) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        queue = await lane.queue(
            exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await client.call(lane.path.select_confirms)
        for _ in range(3):
            lane.path.publish("", queue, encode_properties(), b"")

        def all_answered(events: list[Event]) -> bool:
            return max((tag for _, tag, _, _ in events), default=0) == 3

        told = await lane.until(all_answered)
        assert [ok for _, _, _, ok in told][-1] is False
        assert await lane.ready(queue) == 1

    live(main)


def test_a_deleted_queue_cancels_its_consumer_and_nothing_else(
    live: Callable[[Main], None],
) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        queue, other = await lane.queue(), await lane.queue(exclusive=True)
        tag = await lane.consume(queue)
        await lane.consume(other)
        cancelled: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        lane.channel.add_on_cancel_callback(lambda it: cancelled.set_result(it.method.consumer_tag))
        lane.path.publish("", queue, encode_properties(), b"held")
        await lane.told(1)
        await client.call(lambda done: lane.channel.queue_delete(queue, callback=done))
        assert await asyncio.wait_for(cancelled, LIMIT) == tag
        lane.path.publish("", other, encode_properties(), b"goes on")
        assert (await lane.told(2))[1][-1] == b"goes on"

    live(main)


def test_a_channel_that_the_server_closes_leaves_the_others(live: Callable[[Main], None]) -> None:
    async def main(client: Client) -> None:
        lane, other = await client.channel(), await client.channel()
        queue = await other.queue(exclusive=True)
        await lane.consume(queue)
        lane.path.ack(99)
        error = await asyncio.wait_for(lane.closed, LIMIT)
        assert error.reply_code == 406
        other.path.publish("", queue, encode_properties(), b"one")
        again = await client.channel()
        assert again.channel.channel_number == lane.channel.channel_number
        await again.consume(queue)
        assert (await again.told(1))[0][-1] == b"one"
        assert lane.events == []

    live(main)


def test_prefetch_holds_back_and_a_cancel_leaves_what_is_there(
    live: Callable[[Main], None],
) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        queue = await lane.queue(exclusive=True)
        for number in range(4):
            lane.path.publish("", queue, encode_properties(), b"%d" % number)
        tag = await lane.consume(queue, prefetch=2)
        await lane.told(2)
        await lane.settled()
        assert (len(lane.events), await lane.ready(queue)) == (2, 2)
        await client.call(lambda done: lane.channel.basic_cancel(tag, callback=done))
        lane.path.ack(1)
        lane.path.reject(2, True)
        await lane.settled()
        assert await lane.ready(queue) == 3
        again = await client.channel()
        await again.consume(queue)
        told = await again.told(3)
        assert [(event[-1], event[3]) for event in told] == [
            (b"1", True),
            (b"2", False),
            (b"3", False),
        ]
        again.path.nack(told[-1][2], False, True)
        await again.settled()
        assert await again.ready(queue) == 0

    live(main)


def test_a_caller_is_answered_through_direct_reply_to(live: Callable[[Main], None]) -> None:
    async def main(client: Client) -> None:
        caller, server = await client.channel(), await client.channel()
        queue = await server.queue(exclusive=True)
        await server.consume(queue)
        await client.call(
            lambda done: caller.channel.basic_consume(
                "amq.rabbitmq.reply-to", caller.path.on_message, auto_ack=True, callback=done
            )
        )
        block = encode_properties(message_id="call", reply_to="amq.rabbitmq.reply-to")
        caller.path.publish("", queue, block, b"question")
        asked = (await server.told(1))[0]
        back = reply_to(asked[-2])
        assert back is not None and back.startswith("amq.rabbitmq.reply-to.")
        server.path.publish("", back, encode_properties(message_id="call"), b"answer")
        server.path.ack(asked[2])
        answer = (await caller.told(1))[0]
        assert (message_id(answer[-2]), answer[-1]) == ("call", b"answer")

    live(main)


def test_a_connection_that_breaks_ends_its_channels(live: Callable[[Main], None]) -> None:
    async def main(client: Client) -> None:
        lane = await client.channel()
        queue = await lane.queue()
        await lane.consume(queue)
        lane.path.publish("", queue, encode_properties(), b"x" * 2**20)
        client.connection._transport.abort()
        client.connection._error = exceptions.StreamLostError("cut by a test")
        await asyncio.wait_for(lane.closed, LIMIT)
        await asyncio.wait_for(client.closed, LIMIT)
        with pytest.raises(exceptions.ChannelWrongStateError):
            lane.path.ack(1)
        assert lane.events == []

    live(main)
