"""Callbacks as settings ask for them: none at all where no host is allowed."""

from collections.abc import Sequence

from runtime.brokers import Broker
from runtime.destination import Allowed
from runtime.ledger import Ledger
from runtime.model import Invocation
from runtime.settings import Settings
from runtime.signature import parse_secrets


class Sending:
    """Sends outcomes to whoever asked for them; ConfigurationError for settings that cannot be."""

    def __init__(self, settings: Settings, broker: Broker, ledger: Ledger) -> None:
        from runtime.callbacks import QUEUE, Callbacks  # with an HTTP client: 60 ms
        from runtime.webhook import Webhook

        self._broker = broker
        self._queue = QUEUE
        allowed = Allowed.parse(settings.callback_hosts)
        secrets = parse_secrets(settings.callback_secret.get_secret_value())
        self._webhook = Webhook(allowed, secrets)
        self._callbacks = Callbacks(broker, ledger, self._webhook, settings.own_url)

    async def start(self, *, forgetful: bool) -> None:
        """Begin to send; `forgetful` says that the broker has lost every message of before."""
        await self._broker.declare([self._queue])
        await self._callbacks.start(forgetful=forgetful)

    def enqueue(self, invocations: Sequence[Invocation]) -> None:
        """Have the outcomes of these sent, where they have callbacks."""
        self._callbacks.enqueue(invocations)

    async def close(self) -> None:
        await self._callbacks.close()
        await self._webhook.close()


def sending_of(settings: Settings, broker: Broker, ledger: Ledger) -> Sending | None:
    """What sends callbacks; None where no host is allowed."""
    return Sending(settings, broker, ledger) if settings.callback_hosts else None
