"""The connection to RabbitMQ: made, watched, and made again.

A link knows nothing of queues.  Whoever uses it is told when it is up and when it is down, and asks
it for channels.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pika  # type: ignore[import-untyped]

from runtime.brokers.fast import fast_connection_class
from runtime.brokers.rabbitmq.address import Address
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.server import ServerInfo
from runtime.brokers.rabbitmq.trouble import ChannelClosed, cause, unmendable
from runtime.errors import ConfigurationError, Unavailable

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds between two tries to connect
SHORTEST_WAIT = 0.02  # however the dice fall: never a busy loop
STABLE = 10.0  # seconds a connection must have lasted for the next wait to be a short one again
HANDSHAKE = 5.0  # seconds for TLS and login, beside those to get through to the host

log = logging.getLogger(__name__)


def backoff(tries: int) -> float:
    """Seconds to wait after that many failed tries: exponential, with full jitter.

    With jitter, what lost one server together does not come back to it together.
    """
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries, 30))
    return max(SHORTEST_WAIT, random.uniform(0, longest))


class Link:
    """One connection at a time, for as long as it is open.

    `on_up` is awaited with each new connection before it counts as up, and may raise: then another
    is made.  `on_change` is called whenever `up` or `blocked` has changed.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        *,
        on_up: Callable[[], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self.address = address
        self.name = name  # what the management UI shows
        self.up = False
        self.blocked: str | None = None  # why the server takes nothing
        self.server: ServerInfo | None = None  # the last one there was
        self._on_up = on_up
        self._on_change = on_change
        self._connection: Any = None
        self._lost: asyncio.Future[BaseException] | None = None  # resolved when it is
        self._keeping: asyncio.Task[None] | None = None
        self._closing = False
        self._hosts = list(address.hosts)
        random.shuffle(self._hosts)
        # pika tells of every lost connection by itself, with a stack trace; we do it in a line.
        logging.getLogger("pika").setLevel(logging.CRITICAL + 1)

    async def open(self, patience: float) -> None:
        """Connect, and keep connected from then on.

        ConfigurationError for what waiting cannot mend; Unavailable once the server was away for
        `patience` seconds: 0 tries once.
        """
        began = asyncio.get_running_loop().time()
        tries = 0
        while True:
            try:
                await self._connect()
                break
            except (Unavailable, ChannelClosed) as error:
                waited = asyncio.get_running_loop().time() - began
                wait = backoff(tries)
                if waited + wait > patience:
                    raise Unavailable(f"RabbitMQ is away: {error}", 1) from None
                if tries == 0:
                    log.warning("broker=%s is away: %s; trying on", self.address, error)
                tries += 1
                await asyncio.sleep(wait)
        self._keeping = asyncio.create_task(self._keep())

    @property
    def alive(self) -> bool:
        """Whether there is a connection, though not all may be restored on it yet."""
        return self._connection is not None

    @property
    def kept(self) -> bool:
        """Whether a connection that is lost is made again."""
        return self._keeping is not None and not self._keeping.done()

    @property
    def received(self) -> int:
        """Bytes that came on the present connection, those of heartbeats too."""
        return int(self._connection.bytes_received) if self._connection is not None else 0

    async def channel(self) -> Channel:
        """A new channel; ChannelClosed while there is no connection."""
        if self._connection is None:
            raise ChannelClosed(0, "RabbitMQ is away")
        return await Channel.open(self._connection)

    def drop(self, reason: str) -> None:
        """Give the connection up, as if it had been lost: another one is made."""
        if self._connection is not None and self._connection.is_open:
            self._connection.close(reply_text=reason)

    async def close(self) -> None:
        """Close the connection, and make no other."""
        self._closing = True
        connection, lost = self._connection, self._lost
        if connection is not None and lost is not None:
            if connection.is_open:
                connection.close()
            await asyncio.wait([lost], timeout=HANDSHAKE)
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def _keep(self) -> None:
        """Wait until the connection is lost, make another, and so on."""
        tries = 0
        loop = asyncio.get_running_loop()
        while True:
            up_since = loop.time()
            assert self._lost is not None
            reason = cause(await self._lost)
            if self._closing:
                return
            tries = 0 if loop.time() - up_since > STABLE else tries + 1
            while True:
                wait = backoff(tries)
                log.warning("broker=%s lost: %s; next try in %.1f s", self.address, reason, wait)
                await asyncio.sleep(wait)
                tries += 1
                try:
                    await self._connect()
                    break
                except (Unavailable, ChannelClosed, ConfigurationError) as error:
                    reason = str(error)
            log.info("broker=%s connected again", self.address)

    async def _connect(self) -> None:
        """Connect to one of the hosts and have everything restored."""
        connection = await self._reach()
        try:
            self.server = ServerInfo.of(connection.server_properties)
            await self._on_up()
        except BaseException:
            if connection.is_open:
                connection.close()
            raise
        if self._connection is not connection:  # lost as the last of it was restored
            raise ChannelClosed(0, "the connection was cut")
        self.up = True
        self._on_change()

    async def _reach(self) -> Any:
        """A connection to the first host that takes us."""
        reasons = []
        for _ in range(len(self._hosts)):
            host, port = self._hosts[0]
            try:
                return await self._dial(host, port)
            except Exception as error:
                if refusal := unmendable(error, self.address):
                    raise refusal from None
                reasons.append(f"{host}:{port}: {cause(error)}")
            self._hosts.append(self._hosts.pop(0))
        raise Unavailable("; ".join(reasons), 1)

    async def _dial(self, host: str, port: int) -> Any:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Any] = loop.create_future()
        lost: asyncio.Future[BaseException] = loop.create_future()

        def succeeded(connection: Any) -> None:
            if not opened.done():
                opened.set_result(connection)

        def failed(_: Any, error: BaseException) -> None:
            if not opened.done():
                opened.set_exception(error)

        connection = fast_connection_class()(
            self._parameters(host, port),
            on_open_callback=succeeded,
            on_open_error_callback=failed,
            on_close_callback=lambda c, error: self._gone(c, lost, error),
            custom_ioloop=loop,
        )
        try:
            await opened
        except asyncio.CancelledError:
            if not connection.is_closed:
                connection.close()
            raise
        connection.add_on_connection_blocked_callback(self._blocked)
        connection.add_on_connection_unblocked_callback(self._unblocked)
        self._connection, self._lost = connection, lost
        return connection

    def _gone(self, connection: Any, lost: asyncio.Future[BaseException], error: Exception) -> None:
        lost.set_result(error)
        if self._connection is connection:
            self._connection, self.up, self.blocked = None, False, None
            self._on_change()

    def _blocked(self, _: Any, frame: Any) -> None:
        reason = frame.method.reason
        self.blocked = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        log.warning("broker=%s takes nothing for now: %s", self.address, self.blocked)
        self._on_change()

    def _unblocked(self, *_: Any) -> None:
        self.blocked = None
        log.info("broker=%s takes messages again", self.address)
        self._on_change()

    def _parameters(self, host: str, port: int) -> Any:
        """New ones for each connection: pika writes into them what it agreed on."""
        address, tls = self.address, self.address.tls
        return pika.ConnectionParameters(
            host,
            port,
            virtual_host=address.vhost,
            credentials=pika.PlainCredentials(address.user, address.password),
            heartbeat=address.heartbeat,
            socket_timeout=address.connection_timeout,
            stack_timeout=address.connection_timeout + HANDSHAKE,
            blocked_connection_timeout=address.blocked_timeout,
            client_properties={"connection_name": self.name, "product": "Lumbre"},
            ssl_options=pika.SSLOptions(tls.context(), tls.server_name or host) if tls else None,
        )
