"""Dead letters: shown, put back, thrown away.

A queue can only be read from its head, so each look takes what is there on a channel of its own and
gives back all but what was chosen.  Whoever looks at the same time sees none of it meanwhile.
"""

import asyncio
import bisect
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from runtime.brokers import DeadLetter
from runtime.brokers.fast import Plain, open_hot
from runtime.brokers.properties import headers
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.lease import AT, QUEUE, REASON
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.prefetch import MOST
from runtime.brokers.rabbitmq.trouble import ChannelClosed
from runtime.model import DEVICES, Device, Message, Payload
from runtime.wire import Unreadable, decode_message

SILENCE = 1.0  # seconds without a letter after which those still missing are with somebody else
GIVEN_BACK_EVERY = 0.01  # seconds between two looks whether what was given back is there
ONE_BY_ONE = 1000  # letters that are given back in their order; RabbitMQ 3.10 shuffles what is not
SECOND_LOOK = 0.3  # seconds after which one that was not found is looked for again
REASONS = {
    "delivery_limit": "it was delivered too often: whoever took it died each time",
    "expired": "it waited for longer than its queue allows",
    "maxlen": "its queue was full",
    "rejected": "it was rejected",
}

log = logging.getLogger(__name__)

Choice = Message | bool | None  # put this back instead | throw it away (True) | leave it
Choose = Callable[[DeadLetter], Choice]
PutBack = Callable[[str, Message], Awaitable[None]]


class Letters:
    """The dead letters of all functions; one look at a time."""

    def __init__(self, link: Link, put_back: PutBack) -> None:
        self._link = link
        self._put_back = put_back  # publishes to a queue, and returns when that is confirmed
        self._one = asyncio.Lock()

    async def oldest(self, function: str, limit: int) -> list[DeadLetter]:
        found: list[DeadLetter] = []

        def show(letter: DeadLetter) -> None:
            found.append(letter)

        await self._look(function, show, limit)
        return sorted(found, key=lambda letter: letter.at)

    async def sort(self, function: str, choose: Choose, most: int | None = None) -> int:
        """Ask about each letter, oldest first, until `most` were put back or thrown away.

        Returns how many were; where putting one back fails, it and the rest stay.
        """
        done = await self._look(function, choose, None, most)
        if not done and most == 1:  # somebody else may have had it in hand just then
            await asyncio.sleep(SECOND_LOOK)
            done = await self._look(function, choose, None, most)
        return done

    async def _look(
        self, function: str, choose: Choose, limit: int | None, most: int | None = None
    ) -> int:
        async with self._one:
            channel = await self._link.channel()
            try:
                look = _Look(channel, function, choose, self._put_back, most)
                return await look.through(limit)
            except ChannelClosed as error:
                if error.missing:
                    return 0
                raise
            finally:
                await channel.close()


class _Look:
    """One pass over the letters of a function."""

    def __init__(
        self,
        channel: Channel,
        function: str,
        choose: Choose,
        put_back: PutBack,
        most: int | None,
    ) -> None:
        self._channel = channel
        self._queue = f"{function}.dead"
        self._function = function
        self._choose = choose
        self._put_back = put_back
        self._most = most
        self._hot: Plain = open_hot(channel.raw, self)
        self._missing = 0
        self._left: list[int] = []  # tags of letters that were not chosen
        self._chosen = 0
        self._moving: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._heard = 0.0
        self._error: BaseException | None = None

    async def through(self, limit: int | None) -> int:
        """Look at all there is now, or at the first `limit`; returns how many were settled."""
        ready = await self._channel.count(self._queue)
        self._missing = min(ready, limit if limit is not None else MOST, MOST)
        if self._missing <= 0:
            return 0
        # The prefetch is what we ask for, so that no letter is under way when the channel closes.
        await self._channel.consume(
            self._queue, "letters", self._hot.on_message, prefetch=self._missing
        )
        await self._silence()
        if self._moving:
            await asyncio.wait(self._moving)
        if self._channel.is_open:
            await self._give_back(ready - self._chosen)
        if self._error:
            raise self._error
        return self._chosen

    async def _silence(self) -> None:
        """Return when all have come, or no more do."""
        while not self._over.is_set() and self._channel.is_open:
            heard = self._heard
            try:
                async with asyncio.timeout(SILENCE):
                    await self._over.wait()
            except TimeoutError:
                if heard == self._heard:
                    return

    async def _give_back(self, count: int) -> None:
        """Give back what was not chosen, and see it there: the next look is to find it.

        A channel that is closed gives back too, but some time later.
        """
        await self._channel.cancel("letters")
        if len(self._left) <= ONE_BY_ONE:
            for tag in self._left:
                self._hot.nack(tag)
        else:
            self._hot.nack(0, multiple=True)
        deadline = asyncio.get_running_loop().time() + SILENCE
        while await self._channel.count(self._queue) < count:
            if asyncio.get_running_loop().time() > deadline:  # somebody else took some
                return
            await asyncio.sleep(GIVEN_BACK_EVERY)

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
        self._heard += 1
        self._missing -= 1
        if self._missing <= 0:
            self._over.set()
        self._left.append(tag)
        if self._error or (self._most is not None and self._chosen >= self._most):
            return
        try:
            letter = read_letter(self._function, properties, body)
            choice = self._choose(letter)
        except Exception as error:
            self._fail(error)
            return
        if choice is None or choice is False:
            return
        self._left.pop()
        self._chosen += 1
        if self._most is not None and self._chosen >= self._most:
            self._over.set()
        if choice is True:
            self._hot.ack(tag)
        else:
            task = asyncio.create_task(self._move(tag, letter.queue, choice))
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)

    async def _move(self, tag: int, queue: str, message: Message) -> None:
        try:
            await self._put_back(queue, message)
            self._hot.ack(tag)
        except Exception as error:
            self._chosen -= 1
            bisect.insort(self._left, tag)
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._over.set()

    def on_batch_end(self) -> None:
        """Each is settled by itself."""

    def on_confirm(self, tag: int, multiple: bool, ok: bool) -> None:
        """Nothing is published here."""

    def on_return(self, *_: object) -> None:
        """Nothing is published here."""


def read_letter(function: str, properties: bytes, body: bytes) -> DeadLetter:
    """A dead letter from what lies in a queue, whoever put it there."""
    try:
        known = headers(properties)
    except Exception as error:  # anybody's headers, in pika's decoder
        log.debug("headers of a dead letter cannot be read: %r", error)
        known = {}
    queue, reason, at = _told(known) or _died(known)
    queue = queue or f"{function}.cpu"
    try:
        return DeadLetter(decode_message(body), queue, reason, at)
    except Unreadable as error:
        stand_in = _stand_in(queue, at, body)
        return DeadLetter(stand_in, queue, reason or str(error), at, unreadable=body)


def _told(known: Mapping[str, Any]) -> tuple[str, str, float] | None:
    """What we wrote on it ourselves."""
    if REASON not in known:
        return None
    at = known.get(AT, 0)
    return str(known.get(QUEUE, "")), str(known[REASON]), at / 1e6 if isinstance(at, int) else 0.0


def _died(known: Mapping[str, Any]) -> tuple[str, str, float]:
    """What RabbitMQ wrote on it (`x-death`, the latest first)."""
    deaths = known.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths else {}
    if not isinstance(death, dict):
        death = {}
    when = death.get("time")
    reason = str(death.get("reason", ""))
    at = when.timestamp() if isinstance(when, datetime) else 0.0
    return str(death.get("queue", "")), REASONS.get(reason, reason), at


def _stand_in(queue: str, at: float, body: bytes) -> Message:
    """A message in place of bytes that are none, so that they can be named and thrown away."""
    function, _, last = queue.rpartition(".")
    device: Device = next((device for device in DEVICES if device == last), "cpu")
    id = f"unreadable-{hashlib.sha256(body).hexdigest()[:24]}"
    return Message(id, function or queue, device, Payload(parameters=None), created_at=at)
