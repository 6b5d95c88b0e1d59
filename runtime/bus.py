"""What separate processes tell one another through a broker that is a server.

A `Bus` is a `Broker` and more: outcomes on their way to a recorder, answers to gateways that wait,
cancellations that every worker hears, and signals that may be lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from runtime.brokers import Broker, Consumer
from runtime.model import Message

Settled = Callable[[Exception | None], None]
Results = Callable[[bytes, Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Consumption:
    """How taking from one queue goes, as far as this process can tell."""

    open: bool  # the server knows of a consumer of ours
    mending: bool  # it does not, and another one is being made
    hungry: bool  # one more delivery would be taken now
    taken: int  # deliveries since the consumer was last made: for comparing, not for counting


class Bus(Broker, Protocol):
    """A broker in another process, over one connection that mends itself."""

    on_state: Callable[[], None]  # called when `connected` or `blocked` changes
    on_answer: Callable[[bytes], None]  # several that came together are one after the other
    on_signal: Callable[[str, bytes], None]
    on_cancel: Callable[[str], None]

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""

    @property
    def blocked(self) -> str | None:
        """Why the broker takes nothing now, such as being short of memory; None if it does."""

    @property
    def mending(self) -> bool:
        """Whether a lost connection is made again, as it is until this is closed."""

    @property
    def received(self) -> int:
        """Bytes received on the present connection; 0 while there is none."""

    @property
    def notices_silence(self) -> bool:
        """Whether a connection on which nothing comes any more is given up (AMQP heartbeats)."""

    def consumption(self, queue: str) -> Consumption:
        """How taking from a queue goes; neither open nor mending where nobody takes from it."""

    async def open(self, patience: float) -> None:
        """Connect; ConfigurationError for what waiting cannot mend, Unavailable if it is late."""

    async def ready(self, queue: str) -> int:
        """How many messages wait in a queue, as the server counts them now; KeyError for none."""

    def in_hand(self, queue: str) -> int:
        """How many deliveries this process has taken that the server does not know the end of."""

    def send(self, queue: str, message: Message, *, reply: bool = False, settled: Settled) -> None:
        """Publish, and call `settled` with None at the confirm, or with the error.

        `reply` has the worker's answer come to `on_answer`.  At once Unavailable while there is no
        connection; what is not confirmed when it breaks is sent again for up to ten seconds.
        """

    def answer(self, reply_to: str, body: bytes) -> None:
        """Tell a gateway that waits; if it has gone, nobody hears it."""

    def report(self, entry: bytes) -> None:
        """Put an outcome into `results`, in a batch, for ever until it is confirmed.

        Deliveries settled after this are settled at the broker after that confirm.
        """

    async def consume_results(self, prefetch: int, on_results: Results) -> Consumer:
        """Take what was reported: the bytes of a message, and what to call once it is recorded."""

    def signal(self, key: str, body: bytes) -> None:
        """Tell whoever has subscribed to a pattern of the key; it may be lost."""

    async def subscribe(self, pattern: str) -> None:
        """Have `on_signal` called for keys of a pattern (AMQP topic: * is a word, # any words)."""

    async def unsubscribe(self, pattern: str) -> None: ...

    async def cancel(self, invocation: str) -> None:
        """Have every worker that is, or will be, drop or stop an invocation; Unavailable if not."""

    async def follow_cancellations(self) -> None:
        """Return once all earlier cancellations are known; later ones go to `on_cancel`.

        Messages that are cancelled are never delivered from then on.
        """

    async def settle(self, grace: float) -> bool:
        """Wait until all that was sent, reported and settled is confirmed; False if late."""
