from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.brokers.rabbitmq.prefetch import CROWD, SHARE, Change, next_change


def test_a_first_prefetch_is_one_consumer() -> None:
    assert next_change(5, {}, 0) == Change(start=5)


def test_nothing_is_no_consumer() -> None:
    assert next_change(0, {}, 0) == Change()
    assert next_change(0, {"a": 3}, 0) == Change(end=("a",))


def test_a_rise_starts_another_beside() -> None:
    assert next_change(5, {"a": 3}, 0) == Change(start=2)


def test_a_fall_ends_the_smallest_that_is_enough() -> None:
    assert next_change(6, {"a": 4, "b": 2, "c": 1}, 0) == Change(end=("c",))
    assert next_change(3, {"a": 4, "b": 2, "c": 1}, 0) == Change(end=("a",))
    assert next_change(0, {"a": 4, "b": 2, "c": 1}, 0) == Change(end=("a", "b", "c"))


def test_what_ended_consumers_have_in_hand_takes_its_part() -> None:
    assert next_change(5, {}, 3) == Change(start=2)
    assert next_change(5, {}, 5) == Change()
    assert next_change(3, {}, 5) == Change()


def test_a_prefetch_beyond_what_amqp_can_say_is_the_most_it_can() -> None:
    assert next_change(1_000_000, {}, 0) == Change(start=65_535)


@given(wanted=st.integers(0, 200), sizes=st.lists(st.integers(1, 70), max_size=CROWD + 1))
def test_it_always_comes_to_rest_with_what_is_wanted(wanted: int, sizes: list[int]) -> None:
    live = {f"c{number}": size for number, size in enumerate(sizes)}
    for step in range(10):
        change = next_change(wanted, live, 0)
        if change == Change():
            break
        live = {tag: size for tag, size in live.items() if tag not in change.end}
        if change.start:
            live[f"new{step}"] = change.start
    assert sum(live.values()) == wanted
    assert next_change(wanted, live, 0) == Change()


class Server(RuleBasedStateMachine):
    """A queue that is never empty, its consumers, and a worker that settles when it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 0
        self.live: dict[str, int] = {}
        self.out: Counter[str] = Counter()
        self.most = 0  # ever wanted since there was more in hand
        self.numbers = count()

    @property
    def in_hand(self) -> int:
        return self.out.total()

    def lingering(self) -> int:
        return sum(held for tag, held in self.out.items() if tag not in self.live)

    def steer(self) -> None:
        for _ in range(20):
            change = next_change(self.wanted, self.live, self.lingering())
            if change == Change():
                return
            for tag in change.end:
                del self.live[tag]
            if change.start:
                self.live[f"c{next(self.numbers)}"] = change.start
        raise AssertionError("it does not come to rest")

    @rule(wanted=st.integers(0, 70))
    def want(self, wanted: int) -> None:
        self.wanted = wanted
        self.most = max(self.in_hand, wanted)
        self.steer()

    @rule(share=st.floats(0, 1))
    def deliver(self, share: float) -> None:
        for tag, size in self.live.items():
            self.out[tag] += round((size - self.out[tag]) * share)

    @precondition(lambda self: self.in_hand)
    @rule(n=st.integers(0, 1000), many=st.integers(1, 20))
    def settle(self, n: int, many: int) -> None:
        for _ in range(min(many, self.in_hand)):
            held = sorted(self.out.elements())
            self.out[held[n % len(held)]] -= 1
            self.steer()
        self.most = max(self.wanted, self.in_hand)

    @invariant()
    def no_more_is_in_hand_than_wanted_but_for_what_was_before(self) -> None:
        assert self.in_hand <= self.most

    @invariant()
    def no_more_may_come_than_wanted(self) -> None:
        credit = sum(size - self.out[tag] for tag, size in self.live.items())
        assert credit == 0 or self.in_hand + credit <= self.wanted

    @invariant()
    def almost_all_that_is_wanted_may_come(self) -> None:
        may = sum(self.live.values()) + self.lingering()
        assert may >= self.wanted - max(0, self.wanted // SHARE - 1)

    @invariant()
    def consumers_are_few(self) -> None:
        assert len(self.live) <= CROWD


TestServer = pytest.mark.timeout(60)(Server.TestCase)
