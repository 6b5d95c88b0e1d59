import asyncio

from hypothesis import given
from hypothesis import strategies as st

from runtime.brokers.rabbitmq.acks import AckWindow, Turn


class Server:
    """Which deliveries a RabbitMQ channel holds to be unsettled."""

    def __init__(self, delivered: int) -> None:
        self.out = set(range(1, delivered + 1))
        self.frames = 0

    def ack(self, tag: int, multiple: bool) -> None:
        assert tag in self.out, "an unknown delivery tag closes the channel"
        self.frames += 1
        self.out -= {t for t in self.out if t <= tag} if multiple else {tag}


@given(data=st.data(), delivered=st.integers(1, 60))
def test_the_server_always_forgets_what_was_settled_and_nothing_else(
    data: st.DataObject, delivered: int
) -> None:
    window, server = AckWindow(), Server(delivered)
    left = data.draw(st.permutations(range(1, delivered + 1)))
    unsettled = set(left)
    while left:
        count = data.draw(st.integers(1, len(left)))
        batch, left = left[:count], left[count:]
        unsettled -= set(batch)
        for tag, multiple in window.settle(batch):
            server.ack(tag, multiple)
        assert server.out == unsettled


@given(order=st.permutations(range(1, 50)))
def test_what_is_settled_together_from_the_lowest_on_is_one_frame(order: list[int]) -> None:
    window, server = AckWindow(), Server(49)
    for tag, multiple in window.settle(order):
        server.ack(tag, multiple)
    assert (server.out, server.frames) == (set(), 1)


class Gatherer:
    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1


async def test_what_was_gathered_leaves_at_the_end_of_the_turn() -> None:
    turn, gatherer = Turn(), Gatherer()
    turn.add(gatherer)
    assert gatherer.flushed == 0
    await asyncio.sleep(0)
    assert gatherer.flushed == 1
    await asyncio.sleep(0)
    assert gatherer.flushed == 1


async def test_who_holds_a_turn_flushes_it() -> None:
    turn, gatherer = Turn(), Gatherer()
    turn.held = True
    turn.add(gatherer)
    await asyncio.sleep(0)
    assert gatherer.flushed == 0
    turn.held = False
    turn.flush()
    assert gatherer.flushed == 1
