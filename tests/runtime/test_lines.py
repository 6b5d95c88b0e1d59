"""Lines take turns, are short, and never let more through than may go at once."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.lines import MOST, Lines

HOSTS = st.sampled_from(["a", "b", "c", "d"])


def started(lines: Lines[int]) -> list[tuple[str, int]]:
    """Everybody who may go now."""
    return list(iter(lines.start, None))


def test_one_line_is_first_in_first_out() -> None:
    lines: Lines[int] = Lines(at_once=2, per_host=2)
    for item in range(5):
        assert lines.join("a", item, 0.0) is None
    assert started(lines) == [("a", 0), ("a", 1)]
    lines.finish("a", 1.0)
    assert started(lines) == [("a", 2)]
    assert len(lines) == 2


def test_lines_take_turns() -> None:
    lines: Lines[int] = Lines(at_once=6, per_host=4)
    for item in range(10):
        lines.join("a", item, 0.0)
    for item in range(10, 13):
        lines.join("b", item, 0.0)
    assert [host for host, _ in started(lines)] == ["a", "b", "a", "b", "a", "b"]


def test_a_slow_host_leaves_room_for_others() -> None:
    lines: Lines[int] = Lines()
    for item in range(64):
        assert lines.join("dead", item, 0.0) is None
    assert len(started(lines)) == 4
    lines.join("alive", 99, 0.0)
    assert started(lines) == [("alive", 99)]


def paced(lines: Lines[int], seconds: float) -> None:
    """Let it be known that one to host a takes so many seconds."""
    for _ in range(40):
        lines.join("a", 0, 0.0)
        started(lines)
        lines.finish("a", seconds)


def test_who_finds_a_full_line_comes_again_when_it_would_have_its_turn() -> None:
    lines: Lines[int] = Lines(per_host=2, longest=10)
    paced(lines, 2.0)
    for item in range(10):
        assert lines.join("a", item, 0.0) is None
    waits = [lines.join("a", item, 100.0) for item in range(4)]
    assert waits == [pytest.approx(10 + n, abs=0.1) for n in range(4)]
    later = lines.join("a", 5, 104.0)
    assert later == pytest.approx(10, abs=0.1)  # time goes by for those who were sent away, too


def test_nobody_is_sent_away_for_long_however_many_there_are() -> None:
    lines: Lines[int] = Lines(longest=1)
    lines.join("a", 0, 0.0)
    started(lines)
    lines.finish("a", 10.0)
    lines.join("a", 0, 0.0)
    waits = [lines.join("a", item, 0.0) or 0.0 for item in range(10_000)]
    assert min(waits) >= 1.0 and max(waits) == MOST
    started(lines)
    lines.finish("a", 1.0)
    # Those who come back find a host that is fast by now, and are spread by that.
    paced(lines, 0.01)
    lines.join("a", 0, 300.0)
    again = [lines.join("a", item, 300.0) or 0.0 for item in range(10_000)]
    assert max(again) < 40


def test_only_the_latest_hosts_are_remembered() -> None:
    lines: Lines[int] = Lines()
    lines.join("busy", 0, 0.0)
    started(lines)
    for number in range(3000):
        lines.join(f"host-{number}", number, 0.0)
        started(lines)
        lines.finish(f"host-{number}", 1.0)
    assert len(lines._lines) == 1000 and {"busy", "host-2999"} <= lines._lines.keys()
    lines.finish("busy", 1.0)


def test_whoever_waits_can_be_taken_out() -> None:
    lines: Lines[int] = Lines(at_once=1)
    for item in range(3):
        lines.join("a", item, 0.0)
    started(lines)
    assert list(lines.clear()) == [1, 2]
    lines.finish("a", 1.0)
    assert started(lines) == [] and lines.under_way == 0


class LinesMachine(RuleBasedStateMachine):
    """Whatever is done in whatever order, the limits hold and nobody is lost or forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: Lines[int] = Lines(at_once=5, per_host=2, longest=3)
        self.waiting: dict[str, list[int]] = {}
        self.under_way: Counter[str] = Counter()
        self.items = 0
        self.now = 0.0

    @rule(host=HOSTS)
    def join(self, host: str) -> None:
        self.items += 1
        later = self.lines.join(host, self.items, self.now)
        if len(self.waiting.setdefault(host, [])) < 3:
            assert later is None
            self.waiting[host].append(self.items)
        else:
            assert later is not None and 1 <= later <= MOST

    @rule()
    def start(self) -> None:
        next_one = self.lines.start()
        if next_one is None:
            assert self.under_way.total() == 5 or all(
                not items or self.under_way[host] == 2 for host, items in self.waiting.items()
            )
            return
        host, item = next_one
        assert self.waiting[host].pop(0) == item
        self.under_way[host] += 1

    @precondition(lambda self: self.under_way.total())
    @rule(data=st.data(), seconds=st.floats(0, 20))
    def finish(self, data: st.DataObject, seconds: float) -> None:
        host = data.draw(st.sampled_from(sorted(self.under_way.elements())))
        self.now += seconds
        self.under_way[host] -= 1
        self.lines.finish(host, seconds)

    @invariant()
    def the_limits_hold(self) -> None:
        assert self.lines.under_way == self.under_way.total() <= 5
        assert all(count <= 2 for count in self.under_way.values())
        assert len(self.lines) == sum(map(len, self.waiting.values()))


TestLines = LinesMachine.TestCase


@given(st.lists(st.tuples(HOSTS, st.integers()), max_size=60))
def test_everybody_in_line_gets_a_turn(joins: list[tuple[str, int]]) -> None:
    lines: Lines[int] = Lines(at_once=3, per_host=1, longest=60)
    for host, item in joins:
        assert lines.join(host, item, 0.0) is None
    went = []
    for _ in range(len(joins)):
        now = started(lines)
        went += now
        for host, _item in now:
            lines.finish(host, 1.0)
    assert Counter(went) == Counter(joins)
