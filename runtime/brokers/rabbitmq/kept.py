"""A channel that is to be there whenever the connection is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.link import STABLE, Link, backoff
from runtime.brokers.rabbitmq.trouble import NOT_FOUND, ChannelClosed
from runtime.errors import ConfigurationError

log = logging.getLogger(__name__)

Make = Callable[[Channel], Awaitable[None]]


class Kept:
    """Opens a channel and has it furnished, again each time the server closes it.

    `make` is awaited with each new channel; `gone` is called when one that was made is lost: True
    where the server closed it alone, False where the connection went.  Before one is made in place
    of one that the server closed, `declare` is awaited: what it used may be missing.
    """

    def __init__(
        self,
        link: Link,
        name: str,
        make: Make,
        gone: Callable[[bool], None],
        declare: Callable[[], Awaitable[None]],
    ) -> None:
        self.channel: Channel | None = None
        self._link = link
        self._name = name
        self._make = make
        self._gone = gone
        self._declare = declare
        self._tries = 0
        self._since = 0.0
        self._again: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def mending(self) -> bool:
        """Whether it is to be made again, after the server closed it."""
        return self._again is not None and not self._again.done()

    async def restore(self) -> None:
        """Make it, on a connection that is new; raises what `make` raises, or ChannelClosed."""
        if self._closed:
            return
        if self._again is not asyncio.current_task():
            self._stop()
        channel = await self._link.channel()
        try:
            await self._make(channel)
            if not channel.is_open:
                raise ChannelClosed(0, "the connection was cut")
        except BaseException:
            await channel.close()
            raise
        if self._closed:
            await channel.close()
            return
        self.channel = channel
        self._since = asyncio.get_running_loop().time()
        channel.on_closed = self._on_closed

    def retry(self, reason: Exception) -> None:
        """Make it later, since it could not be made now."""
        if self._again is None and not self._closed:
            self._again = asyncio.create_task(self._make_again(str(reason)))

    def renew(self, reason: str) -> None:
        """Close the channel, as if the server had, and make another."""
        channel, self.channel = self.channel, None
        if channel:
            self._leaving = asyncio.create_task(channel.close())
            self._lose(ChannelClosed(NOT_FOUND, reason))

    async def close(self) -> None:
        self._closed = True
        self._stop()
        channel, self.channel = self.channel, None
        if channel:
            await channel.close()

    def _on_closed(self, error: ChannelClosed) -> None:
        self.channel = None
        self._lose(error)

    def _lose(self, error: ChannelClosed) -> None:
        loop = asyncio.get_running_loop()
        self._tries = 0 if loop.time() - self._since > STABLE else self._tries + 1
        self._gone(error.code > 0)
        if error.code:  # else the connection is made again first
            self.retry(error)

    def _stop(self) -> None:
        if self._again:
            self._again.cancel()
            self._again = None

    async def _make_again(self, reason: str) -> None:
        while True:
            wait = backoff(self._tries)
            log.warning(
                "broker=%s %s: %s; again in %.1f s", self._link.address, self._name, reason, wait
            )
            await asyncio.sleep(wait)
            self._tries += 1
            try:
                await self._declare()
                await self.restore()
                break
            except ChannelClosed as error:
                if not self._link.alive:  # the next connection restores it
                    break
                reason = str(error)
            except ConfigurationError as error:
                reason = str(error)
        self._again = None
