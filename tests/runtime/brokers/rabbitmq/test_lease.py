"""What becomes of deliveries, without a server: every order of events that loses nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from runtime.brokers import QueueSpec
from runtime.brokers.properties import encode_properties, headers, message_id, reply_to
from runtime.brokers.rabbitmq.lease import Copy, Lease, Leases
from runtime.model import Message
from runtime.wire import decode_message
from tests.runtime.brokers.rabbitmq.rig import message

SETTLEMENTS: dict[str, Callable[[Lease], None]] = {
    "ack": lambda lease: lease.ack(),
    "requeue": lambda lease: lease.requeue(),
    "reject": lambda lease: lease.reject("no"),
}


class FakePort:
    def __init__(self) -> None:
        self.alive = True
        self.acked: list[int] = []

    def ack(self, tag: int, consumer: str) -> None:
        self.acked.append(tag)


class FakeDesk:
    """Holds back what waits for reports, and copies until they are confirmed or lost."""

    def __init__(self) -> None:
        self.reporting = False
        self.waiting: list[Lease] = []
        self.copies: list[tuple[Copy, Callable[[bool], None]]] = []
        self.afterwards: list[Callable[[], None]] = []
        self.now = lambda: 1_000.0

    def after_reports(self, lease: Lease) -> None:
        if self.reporting:
            self.waiting.append(lease)
        else:
            lease.take_effect()

    def reports_confirmed(self) -> None:
        self.reporting = False
        waiting, self.waiting = self.waiting, []
        for lease in waiting:
            lease.take_effect()

    def copy(self, copy: Copy, done: Callable[[bool], None]) -> None:
        self.copies.append((copy, done))

    def later(self, call: Callable[[], None]) -> None:
        self.afterwards.append(call)


class Rig:
    def __init__(self) -> None:
        self.desk, self.port = FakeDesk(), FakePort()
        self.leases = Leases(QueueSpec("f.cpu", delivery_limit=3), self.desk)
        self.sent = message(reply_to="somebody")
        self.properties = encode_properties(message_id=self.sent.id)

    def deliver(self, tag: int, returns: int = 0) -> Lease:
        lease = Lease(
            self.leases, replace(self.sent), self.properties, returns, self.port, tag, "c1"
        )
        self.leases.held[self.sent.id] = lease
        return lease

    def reconnect(self) -> None:
        self.port.alive = False
        self.port = FakePort()

    def known(self, tag: int) -> bool:
        return self.leases.decided(self.properties, self.sent.id, self.port, tag, "c1")

    def copied(self, confirmed: bool = True) -> Copy:
        copy, done = self.desk.copies.pop(0)
        done(confirmed)
        return copy


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_an_ack_goes_out_at_once_where_nothing_was_reported(rig: Rig) -> None:
    rig.deliver(1).ack()
    assert rig.port.acked == [1]
    assert not rig.leases.held


@pytest.mark.parametrize("how", SETTLEMENTS)
def test_nothing_is_settled_before_the_reports_made_until_then_are_confirmed(
    rig: Rig, how: str
) -> None:
    lease = rig.deliver(1)
    rig.desk.reporting = True
    SETTLEMENTS[how](lease)
    assert not rig.port.acked and not rig.desk.copies
    rig.desk.reports_confirmed()
    if how != "ack":
        rig.copied()
    assert rig.port.acked == [1]


def test_a_message_is_given_back_as_a_copy_before_it_is_acknowledged(rig: Rig) -> None:
    lease = rig.deliver(1)
    lease.requeue()
    assert not rig.port.acked
    copy = rig.copied()
    assert rig.port.acked == [1]
    assert (copy.exchange, copy.key) == ("", "f.cpu")
    assert decode_message(copy.body).attempt == 2
    assert lease.message.attempt == 1
    assert headers(copy.properties) == {"x-lumbre-returns": 1}
    assert reply_to(copy.properties) == "somebody"
    assert message_id(copy.properties) not in (None, rig.sent.id)


def test_an_uncounted_copy_is_the_same_attempt(rig: Rig) -> None:
    rig.deliver(1).requeue(counted=False)
    copy = rig.copied()
    assert decode_message(copy.body).attempt == 1
    assert headers(copy.properties) == {}


@pytest.mark.parametrize(
    ("delay", "exchange", "due"),
    [(0.7, "retry.1s", None), (45, "retry.1m", None), (3600, "retry.5m", 4_600_000)],
)
def test_a_delay_goes_by_the_queue_of_its_step(
    rig: Rig, delay: float, exchange: str, due: int | None
) -> None:
    rig.deliver(1).requeue(counted=False, delay=delay)
    copy = rig.copied()
    assert (copy.exchange, copy.key) == (exchange, "f.cpu")
    assert headers(copy.properties).get("x-lumbre-due") == due


def test_what_was_given_back_too_often_goes_to_the_dead_letters(rig: Rig) -> None:
    rig.deliver(1, returns=3).requeue()
    copy = rig.copied()
    assert copy.key == "f.dead"
    told = headers(copy.properties)
    assert told["x-lumbre-reason"] == "given back 4 times, over its queue's limit of 3"
    assert (told["x-lumbre-queue"], told["x-lumbre-at"]) == ("f.cpu", 1_000_000_000)


def test_settling_again_changes_nothing(rig: Rig) -> None:
    lease = rig.deliver(1)
    lease.ack()
    lease.ack()
    lease.requeue()
    lease.reject("no")
    assert rig.port.acked == [1]
    assert not rig.desk.copies


def test_a_delivery_that_comes_again_over_another_channel_is_the_same_one(rig: Rig) -> None:
    lease = rig.deliver(1)
    rig.reconnect()
    assert not rig.known(1)
    lease.adopt(rig.port, 7, "c1")
    lease.ack()
    assert rig.port.acked == [7]


def test_a_delivery_that_comes_twice_is_settled_twice(rig: Rig) -> None:
    lease = rig.deliver(1)
    lease.adopt(rig.port, 2, "c1")
    lease.ack()
    assert rig.port.acked == [1, 2]


def test_what_was_acknowledged_on_a_channel_that_is_gone_is_so_again(rig: Rig) -> None:
    rig.deliver(1).ack()
    rig.reconnect()
    assert rig.known(5)
    assert rig.port.acked == [5]


def test_what_was_acknowledged_on_a_channel_that_is_there_may_come_as_another(rig: Rig) -> None:
    rig.deliver(1).ack()
    assert not rig.known(5)


def test_what_is_settled_without_a_channel_is_settled_when_it_comes_again(rig: Rig) -> None:
    lease = rig.deliver(1)
    rig.reconnect()
    lease.ack()
    assert rig.known(5)
    assert rig.port.acked == [5]


def test_a_copy_is_made_once_the_delivery_is_there_again(rig: Rig) -> None:
    lease = rig.deliver(1)
    rig.reconnect()
    lease.reject("no good")
    assert not rig.desk.copies
    assert rig.known(5)
    assert rig.copied().key == "f.dead"
    assert rig.port.acked == [5]


def test_a_copy_that_went_down_with_the_connection_is_made_again(rig: Rig) -> None:
    rig.deliver(1).requeue(delay=5)
    rig.reconnect()
    rig.copied(confirmed=False)
    rig.desk.afterwards.pop()()
    assert rig.known(5)
    assert rig.copied().exchange == "retry.5s"
    assert rig.port.acked == [5]


def test_a_copy_that_was_refused_is_tried_again_while_the_delivery_is_there(rig: Rig) -> None:
    rig.deliver(1).requeue()
    rig.copied(confirmed=False)
    assert not rig.desk.copies, "not at once"
    rig.desk.afterwards.pop()()
    rig.copied()
    assert rig.port.acked == [1]


def test_of_a_copy_that_is_in_place_the_original_is_acknowledged_when_it_comes_again(
    rig: Rig,
) -> None:
    rig.deliver(1).requeue()
    rig.reconnect()
    copy = rig.copied()
    assert rig.known(5)
    assert rig.port.acked == [5]
    assert not rig.leases.decided(copy.properties, rig.sent.id, rig.port, 6, "c1")


def test_a_copy_that_comes_before_its_confirm_is_not_settled_with_the_original(rig: Rig) -> None:
    original = rig.deliver(1)
    original.requeue()
    copy, confirm = rig.desk.copies.pop()
    assert rig.leases.in_hand(rig.properties, rig.sent.id) is original, "the same, come again"
    assert rig.leases.in_hand(copy.properties, rig.sent.id) is None
    again = Lease(rig.leases, rig.sent, copy.properties, 1, rig.port, 2, "c1")
    rig.leases.held[rig.sent.id] = again
    confirm(True)
    assert rig.port.acked == [1]
    assert rig.leases.in_hand(copy.properties, rig.sent.id) is again
    again.ack()
    assert rig.port.acked == [1, 2]


@pytest.mark.parametrize("acked", [False, True])
def test_a_second_message_of_what_is_in_hand_is_settled_with_it(rig: Rig, acked: bool) -> None:
    lease = rig.deliver(1)
    rig.desk.reporting = True
    if acked:
        lease.ack()
    assert rig.leases.in_hand(encode_properties(message_id="another"), rig.sent.id) is lease


def test_it_comes_again_while_its_fate_waits_for_reports(rig: Rig) -> None:
    lease = rig.deliver(1)
    rig.desk.reporting = True
    lease.ack()
    rig.reconnect()
    assert rig.leases.held[rig.sent.id] is lease
    lease.adopt(rig.port, 5, "c1")
    rig.desk.reports_confirmed()
    assert rig.port.acked == [5]


def test_the_message_a_copy_carries_is_whole(rig: Rig) -> None:
    rig.deliver(1).reject("no")
    carried: Message = decode_message(rig.copied().body)
    assert carried == replace(rig.sent, reply_to=None)
