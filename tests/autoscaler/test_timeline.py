"""A timeline keeps peaks, ends of buckets, and no more than a picture needs."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.timeline import MOST, Moment, Timeline


def moment(at: float, replicas: int, backlog: int = 0) -> Moment:
    return Moment(at, backlog, 0, 0, replicas, 0, 0)


def test_a_peak_is_kept_and_what_follows_is_how_it_ended() -> None:
    timeline = Timeline(10.0)
    for at, replicas in ((0, 1), (1, 9), (2, 0), (55, 3)):
        timeline.note(moment(at, replicas))
    found = [part.replicas if part else None for part in timeline.sampled(60, 6)]
    assert found == [9, 0, 0, 0, 0, 3]


def test_before_the_first_there_is_nothing() -> None:
    timeline = Timeline(1.0)
    timeline.note(moment(5, 2))
    assert [part is None for part in timeline.sampled(10, 10)] == [True] * 5 + [False] * 5


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 9)), min_size=1, max_size=50))
def test_the_highest_is_never_lost(given_: list[tuple[float, int]]) -> None:
    timeline = Timeline(0.001)
    for at, replicas in sorted(given_):
        timeline.note(moment(at, replicas))
    found = timeline.sampled(1e6 + 1, 7)
    assert max(part.replicas for part in found if part) == max(n for _, n in given_)


def test_a_long_time_takes_no_more_room() -> None:
    timeline = Timeline(1.0)
    for at in range(3 * MOST):
        timeline.note(moment(float(at), at % 5))
    assert timeline.width == 4.0
    assert all(part and part.replicas == 4 for part in timeline.sampled(3.0 * MOST, 100))
