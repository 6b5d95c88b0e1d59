"""Direct replies, those of one turn of the loop to one gateway in one message.

A replica that is quick gives many outcomes at once, and RabbitMQ's work is by the message.
"""

from runtime.brokers.properties import TRANSIENT, encode_properties
from runtime.brokers.rabbitmq.acks import Turn
from runtime.brokers.rabbitmq.loose import Loose
from runtime.wire import join_reports

LARGEST = 2**20  # bytes that are gathered for one message

_PROPERTIES = encode_properties(delivery_mode=TRANSIENT)


class Answers:
    """Tells who waits; if nobody does, or there is no connection, nobody hears it."""

    def __init__(self, loose: Loose, turn: Turn) -> None:
        self._loose = loose
        self._turn = turn
        self._gathered: dict[str, list[bytes]] = {}  # by address
        self._size = 0

    def tell(self, reply_to: str, report: bytes) -> None:
        if not self._gathered:
            self._turn.add(self)
        self._gathered.setdefault(reply_to, []).append(report)
        self._size += len(report)
        if self._size > LARGEST:
            self.flush()

    def flush(self) -> None:
        gathered, self._gathered, self._size = self._gathered, {}, 0
        for reply_to, reports in gathered.items():
            self._loose.publish("", reply_to, _PROPERTIES, join_reports(reports))
