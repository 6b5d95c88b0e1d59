"""Messages that may be lost: answers to who waits, and signals.  Nobody waits for them."""

from pika import exceptions  # type: ignore[import-untyped]

from runtime.brokers.fast import Plain, open_hot
from runtime.brokers.rabbitmq.channel import Channel


class Loose:
    """One channel without confirms; without a connection, what is published is dropped."""

    def __init__(self) -> None:
        self._hot: Plain | None = None

    async def make(self, channel: Channel) -> None:
        self._hot = open_hot(channel.raw, self)

    def gone(self, alone: bool) -> None:
        self._hot = None

    def publish(self, exchange: str, key: str, properties: bytes, body: bytes) -> None:
        if self._hot is not None:
            try:
                # Not mandatory: a reply that comes late would only come back to us.
                self._hot.publish(exchange, key, properties, body)
            except (exceptions.ChannelWrongStateError, exceptions.ShortStringTooLong):
                return  # the channel closes just now, or the key was never an address

    def on_delivery(self, *_: object) -> None:
        """Nothing is consumed here."""

    def on_confirm(self, *_: object) -> None:
        """Confirms are off."""

    def on_return(self, *_: object) -> None:
        """Nothing is mandatory here."""

    def on_batch_end(self) -> None:
        """Nothing is gathered here."""
