"""The hot path around pika's cost per frame.

`FastConnection` is pika's AsyncioConnection with two short cuts: all frames of one turn of the loop
leave in one write, and on channels opened with `open_hot` deliveries, confirms and returns are
read in place.  Every other frame, and every other channel, stays pika's.  `Plain` does the same
through pika's public API, for versions of pika this module has not been held against; callers take
`fast_connection_class` and `open_hot` and need not know which they got.  Not thread-safe, as pika
is not.  Layouts of frames, methods and properties: AMQP 0-9-1, §2.3.5 and §4.2.
"""

import os
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, Protocol

import pika  # type: ignore[import-untyped]
from pika import exceptions, frame, spec
from pika.adapters.asyncio_connection import AsyncioConnection  # type: ignore[import-untyped]

from runtime.brokers.properties import raw, short_string, text

# Those that the tests ran with.  Not 1.4.0, whose channels with a consumer cannot be closed (it
# changes a dict while it walks it); there is no 1.4.3.
KNOWN = frozenset({"1.3.2", "1.4.1", "1.4.2", "1.4.4"})

METHOD, HEADER, BODY = spec.FRAME_METHOD, spec.FRAME_HEADER, spec.FRAME_BODY
RETURN, DELIVER = spec.Basic.Return.INDEX, spec.Basic.Deliver.INDEX
ACK, REJECT, NACK = spec.Basic.Ack.INDEX, spec.Basic.Reject.INDEX, spec.Basic.Nack.INDEX
END = spec.FRAME_END
END_BYTE = bytes([END])
BASIC = spec.Basic.INDEX
OVERHEAD: int = (
    spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE
)  # bytes of a frame that are not payload
GREETING = b"AMQP"  # a server that speaks another version answers with this, which is no frame

READ_SIZE = 64 * 1024  # bytes; pika reads 4096 at a time, sixteen small messages
CACHED = 4096  # names, routes and frames remembered; routing keys may have no end

HEAD = Struct(">BHI")  # type, channel, size of the payload
INDEX = Struct(">I")  # class and method
TAG = Struct(">QB")  # delivery tag, bits
CODE = Struct(">H")
SIZE = Struct(">Q")
CONTENT_HEAD = Struct(">BHIHHQ")  # a header frame up to its properties
BODY_HEAD = Struct(">BBHI")  # the end of a frame, and the head of the body frame after it
SETTLE = Struct(">BHIIQBB")  # all of an ack, nack or reject
SETTLE_SIZE = 13

Piece = bytes | memoryview


class Handler(Protocol):
    """What the owner of a channel is told, on the loop.

    Nothing here may raise: pika gives up a connection whose callback does.
    """

    def on_delivery(
        self,
        consumer: str,
        tag: int,
        redelivered: bool,
        exchange: str,
        routing_key: str,
        properties: bytes,
        body: bytes,
    ) -> None:
        """A whole message came, for the consumer that had this tag.

        `properties` is the encoded block, for the readers of `runtime.brokers.properties`.
        Deliveries go on after a cancel until the server has answered it; they too are to be
        settled.  None comes once the channel closes.
        """

    def on_batch_end(self) -> None:
        """That was all the server had sent so far: the time to settle many at once.

        Called after whatever came while the channel is open.
        """

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """The server took (`ok`) or refused what publish() numbered `tag`, or all up to it."""

    def on_return(
        self, code: int, text: str, exchange: str, routing_key: str, properties: bytes, body: bytes
    ) -> None:
        """A mandatory message had no queue to go to; its confirm (ok) follows."""


def fast_connection_class(fast: bool = True) -> type[AsyncioConnection]:
    """FastConnection, or pika's own class: where `fast` is off, or pika is none of KNOWN."""
    return FastConnection if fast and pika.__version__ in KNOWN else AsyncioConnection


def open_hot(channel: Any, handler: Handler) -> "Plain":
    """The hot path of an open pika channel, by whatever way its connection allows.

    Hand its `on_message` to pika's `basic_consume`; consumers are cancelled, prefetch is set and
    the channel is closed through pika.  It ends with its channel; a channel has one.  Raises pika's
    ChannelWrongStateError where the channel is not open.
    """
    _must_be_open(channel)
    return (Hot if isinstance(channel.connection, FastConnection) else Plain)(channel, handler)


def _must_be_open(channel: Any) -> None:
    if not channel.is_open:
        raise exceptions.ChannelWrongStateError("Channel is not open.")


class Plain:
    """A channel's publishes and deliveries through pika's public API.

    A delivery that comes between a cancel and its answer is not told: pika itself gives it back.
    """

    def __init__(self, channel: Any, handler: Handler) -> None:
        self._channel = channel
        self._handler = handler
        self._published: int | None = None  # since confirms are on
        self._selecting = False
        self._batch_ends = False
        channel.add_on_return_callback(self._on_return)

    def publish(
        self,
        exchange: str,
        routing_key: str,
        properties: bytes,
        body: bytes,
        mandatory: bool = False,
    ) -> int:
        """Send a message; `properties` is what `encode_properties` made or a delivery had.

        Returns the number its confirm will carry: 1, 2, … from the first after confirms are on,
        0 while they are off.  Raises pika's ChannelWrongStateError where the channel is not open,
        ShortStringTooLong for a name over 255 bytes.
        """
        number = self._next_number()
        self._channel.basic_publish(
            raw(exchange),
            raw(routing_key),
            body,
            spec.BasicProperties().decode(properties),
            mandatory,
        )
        return self._count(number)

    def ack(self, tag: int, multiple: bool = False) -> None:
        """Settle a delivery, or all up to it: the server forgets them."""
        self._channel.basic_ack(tag, multiple)

    def nack(self, tag: int, requeue: bool = True, multiple: bool = False) -> None:
        """Settle a delivery, or all up to it: back into the queue, or dead-lettered."""
        self._channel.basic_nack(tag, multiple, requeue)

    def reject(self, tag: int, requeue: bool = True) -> None:
        """Settle a delivery: back into the queue, or dead-lettered."""
        self._channel.basic_reject(tag, requeue)

    def select_confirms(self, done: Callable[[], object]) -> None:
        """Turn confirms on, once a channel; `done` is called when they are.

        Publishing in between is refused, since nobody could tell its number.
        """

        def selected(_: object) -> None:
            self._selecting, self._published = False, 0
            done()

        self._channel.confirm_delivery(self._on_acknowledged, selected)
        self._selecting = True

    def on_message(self, _: object, method: Any, properties: Any, body: bytes) -> None:
        """What pika's `basic_consume` is to call."""
        self._will_end_batch()
        self._handler.on_delivery(
            text(method.consumer_tag),
            method.delivery_tag,
            method.redelivered,
            text(method.exchange),
            text(method.routing_key),
            b"".join(properties.encode()),
            body,
        )

    def _next_number(self) -> int:
        if self._selecting:
            message = "Confirms are not on yet: publish once select_confirms has called back."
            raise exceptions.ChannelWrongStateError(message)
        return 0 if self._published is None else self._published + 1

    def _count(self, number: int) -> int:
        if number:
            self._published = number
        return number

    def _on_acknowledged(self, answer: Any) -> None:
        method = answer.method
        self._will_end_batch()
        self._handler.on_confirm(method.delivery_tag, method.multiple, method.INDEX == ACK)

    def _on_return(self, _: object, method: Any, properties: Any, body: bytes) -> None:
        self._will_end_batch()
        self._handler.on_return(
            method.reply_code,
            text(method.reply_text),
            text(method.exchange),
            text(method.routing_key),
            b"".join(properties.encode()),
            body,
        )

    def _will_end_batch(self) -> None:
        if not self._batch_ends:
            self._batch_ends = True
            self._channel.connection.ioloop.call_soon(self._end_batch)

    def _end_batch(self) -> None:
        self._batch_ends = False
        if self._channel.is_open:
            self._handler.on_batch_end()


class Hot(Plain):
    """A channel's publishes and deliveries past pika, on a FastConnection."""

    def __init__(self, channel: Any, handler: Handler) -> None:
        super().__init__(channel, handler)
        self._connection: FastConnection = channel.connection
        self._number: int = channel.channel_number
        self._room: int = channel.connection.params.frame_max - OVERHEAD  # of body, in one frame
        self._on_delivery = handler.on_delivery
        self._on_confirm = handler.on_confirm
        # The message whose frames are coming in: whom to tell, of what, and the rest of its body.
        self._tell: Callable[..., None] | None = None
        self._method: tuple[Any, ...] = ()
        self._properties: bytes | None = None  # None until its header is there
        self._lacking = 0  # bytes of its body
        self._parts: list[bytes] = []
        self.told = False  # something, since the batch began
        self._connection.hot[self._number] = self
        channel.add_on_close_callback(self._on_close)

    # ── out ───────────────────────────────────────────────────────────────────────────────────

    def publish(
        self,
        exchange: str,
        routing_key: str,
        properties: bytes,
        body: bytes,
        mandatory: bool = False,
    ) -> int:
        """As Plain's, and the same frames; the first of them is remembered by its names."""
        _must_be_open(self._channel)
        published = self._next_number()
        number, size = self._number, len(body)
        method = _publish_frame(number, exchange, routing_key, mandatory)
        header = CONTENT_HEAD.pack(HEADER, number, 12 + len(properties), BASIC, 0, size)
        if 0 < size <= self._room:
            head = BODY_HEAD.pack(END, BODY, number, size)
            self._connection.emit((method, header, properties, head, body, END_BYTE), 3)
        else:
            self._emit_split(method, header, properties, body)
        return self._count(published)

    def ack(self, tag: int, multiple: bool = False) -> None:
        self._settle(ACK, tag, multiple)

    def nack(self, tag: int, requeue: bool = True, multiple: bool = False) -> None:
        self._settle(NACK, tag, multiple | requeue << 1)

    def reject(self, tag: int, requeue: bool = True) -> None:
        self._settle(REJECT, tag, requeue)

    def _settle(self, method: int, tag: int, bits: int) -> None:
        _must_be_open(self._channel)
        whole = SETTLE.pack(METHOD, self._number, SETTLE_SIZE, method, tag, bits, END)
        self._connection.emit((whole,), 1)

    def _emit_split(self, method: bytes, header: bytes, properties: bytes, body: bytes) -> None:
        """Send a message that has no body, or one of more than a frame."""
        pieces: list[Piece] = [method, header, properties]
        view, room = memoryview(body), self._room
        for at in range(0, len(body), room):
            part = view[at : at + room]
            pieces += (BODY_HEAD.pack(END, BODY, self._number, len(part)), part)
        pieces.append(END_BYTE)
        self._connection.emit(pieces, 2 + -(-len(body) // room))

    # ── in ────────────────────────────────────────────────────────────────────────────────────

    def take(self, kind: int, data: bytes, at: int, end: int) -> bool:
        """Read data[at:end], the payload of a frame of this channel; False if it is pika's."""
        if kind == METHOD:
            return self._take_method(data, at, end)
        if self._tell is None or kind > BODY:
            return False
        if kind == HEADER:
            self._take_header(data, at, end)
        else:
            self._take_body(data, at, end)
        return True

    def _take_method(self, data: bytes, at: int, end: int) -> bool:
        (method,) = INDEX.unpack_from(data, at)
        at += 4
        if method == DELIVER:
            tag_at = at + 1 + data[at]
            tag, redelivered = TAG.unpack_from(data, tag_at)
            consumer = _known(data[at + 1 : tag_at])
            names = _two_names(data[tag_at + 9 : end])
            self._begin(self._on_delivery, (consumer, tag, redelivered & 1 == 1, *names))
        elif method in (ACK, NACK):
            tag, bits = TAG.unpack_from(data, at)
            self._will_end_batch()
            self._on_confirm(tag, bits & 1 == 1, method == ACK)
        elif method == RETURN:
            (code,) = CODE.unpack_from(data, at)
            names_at = at + 3 + data[at + 2]
            text = _known(data[at + 3 : names_at])
            self._begin(self._handler.on_return, (code, text, *_two_names(data[names_at:end])))
        else:
            return False
        return True

    def _begin(self, tell: Callable[..., None], method: tuple[Any, ...]) -> None:
        if self._tell is not None:
            raise exceptions.UnexpectedFrameError("a message within a message")
        self._tell, self._method, self._properties = tell, method, None

    def _take_header(self, data: bytes, at: int, end: int) -> None:
        if self._properties is not None:
            raise exceptions.UnexpectedFrameError("a second header for one message")
        (self._lacking,) = SIZE.unpack_from(data, at + 4)
        self._properties = data[at + 12 : end]
        if self._lacking == 0:
            self._finish(b"")

    def _take_body(self, data: bytes, at: int, end: int) -> None:
        if self._properties is None:
            raise exceptions.UnexpectedFrameError("a body before its header")
        self._lacking -= end - at
        if self._lacking < 0:
            raise exceptions.BodyTooLongError(end - at, self._lacking + end - at)
        if not self._parts and self._lacking == 0:
            self._finish(data[at:end])
            return
        self._parts.append(data[at:end])
        if self._lacking == 0:
            body, self._parts = b"".join(self._parts), []
            self._finish(body)

    def _finish(self, body: bytes) -> None:
        """Tell of a message that is complete."""
        tell, self._tell = self._tell, None
        # AMQP 0-9-1, §1.5.2.5: who has sent channel.close discards what still comes.
        if tell is not None and (tell is not self._on_delivery or self._channel.is_open):
            self._will_end_batch()
            tell(*self._method, self._properties, body)

    def _will_end_batch(self) -> None:
        if not self.told:
            self.told = True
            self._connection.told.append(self)

    def end_batch(self) -> None:
        self.told = False
        if self._channel.is_open:
            self._handler.on_batch_end()

    def _on_close(self, *_: object) -> None:
        self._connection.hot.pop(self._number, None)


def _reset(transport: Any) -> int:
    """The error that has ended a socket, or 0.

    uvloop tells once of a socket that was reset, and never again: where there was something to read
    as well, that call reads it, and without looking here nobody would ever hear of the end.
    """
    return int(transport._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


class FastConnection(AsyncioConnection):  # type: ignore[misc]
    """pika's AsyncioConnection, with the hot path of those of its channels that asked for it.

    Of pika's own it replaces what is called when bytes came, and what takes encoded frames.
    """

    def _init_connection_state(self) -> None:
        """Begin without anything, and again once the connection is lost: a part goes with it."""
        super()._init_connection_state()
        self.hot: dict[int, Hot] = {}  # by the number of their channel
        self.told: list[Hot] = []  # those that were told something by this read
        self._out: list[Piece] = []  # what leaves at the end of this turn of the loop
        self._tail: list[bytes] = []  # the beginning of a frame
        self._lacking = 0  # bytes until there is more to know about that frame

    def _proto_connection_made(self, transport: Any) -> None:
        """Read as much as there is in one go, and not again only to hear that there is no more."""
        transport._MAX_RECV_BYTES = READ_SIZE
        transport._MAX_CONSUME_BYTES = 1
        super()._proto_connection_made(transport)

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        self.emit(marshaled_frames, len(marshaled_frames))

    def emit(self, pieces: Sequence[Piece], frames: int) -> None:
        """Send encoded frames, in any pieces, with all else of this turn of the loop."""
        if not self._out:
            self.ioloop.call_soon(self._flush)
        self._out += pieces
        self.frames_sent += frames

    def _flush(self) -> None:
        out, self._out = self._out, []
        if not out:  # the connection was lost in the meantime, and they with it
            return
        whole = b"".join(out)
        self.bytes_sent += len(whole)
        try:
            # The transport cuts off what the socket took: of a view that costs nothing.
            self._adapter_emit_data(memoryview(whole))
        except RuntimeError as error:  # the loop has given the socket up, and pika is not told
            self._transport._initiate_abort(error)

    def _on_data_available(self, data_in: bytes) -> None:
        """Read all frames that are complete, and keep the rest until there is more."""
        if self._transport is not None and (code := _reset(self._transport)):
            self._transport._initiate_abort(OSError(code, os.strerror(code)))
            return
        self.bytes_received += len(data_in)
        if self._tail:
            self._tail.append(data_in)
            self._lacking -= len(data_in)
            if self._lacking > 0:
                return
            data_in, self._tail = b"".join(self._tail), []
        at = self._take_frames(data_in)
        if at < len(data_in):
            self._tail = [data_in[at:]]
            self._lacking = _frame_size(self._tail[0]) - len(self._tail[0])
        if self.told:
            told, self.told = self.told, []
            for hot in told:
                hot.end_batch()

    def _take_frames(self, data: bytes) -> int:
        """Read the frames of `data`; returns where the first incomplete one begins."""
        at, available, hot = 0, len(data), self.hot
        while available - at >= OVERHEAD:
            kind, number, size = HEAD.unpack_from(data, at)
            end = at + size + OVERHEAD - 1
            if end >= available:
                if data[at : at + 4] != GREETING:
                    break
                end = at + OVERHEAD - 1
            taker = hot.get(number)
            if taker and data[end] == END and taker.take(kind, data, at + OVERHEAD - 1, end):
                self.frames_received += 1
            else:  # pika refuses a frame without its end, too
                self._process_frame(frame.decode_frame(data[at : end + 1])[1])
            at = end + 1
        return at


def _frame_size(data: bytes) -> int:
    """How many bytes a frame has, or at least has, by its first ones."""
    if len(data) < OVERHEAD:
        return OVERHEAD
    return int(HEAD.unpack_from(data)[2]) + OVERHEAD


# ── names ─────────────────────────────────────────────────────────────────────────────────────


_known = lru_cache(CACHED)(text)


@lru_cache(CACHED)
def _two_names(pair: bytes) -> tuple[str, str]:
    """Two short strings, one after the other."""
    middle = 1 + pair[0]
    return text(pair[1:middle]), text(pair[middle + 1 : middle + 1 + pair[middle]])


@lru_cache(CACHED)
def _publish_frame(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    """A whole Basic.Publish frame."""
    names = short_string(exchange) + short_string(routing_key)
    payload = INDEX.pack(spec.Basic.Publish.INDEX) + bytes(2) + names + bytes((mandatory,))
    head: bytes = HEAD.pack(METHOD, channel, len(payload))
    return head + payload + END_BYTE
