"""When a cell has enough, and when it is given up."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.suite.plan import Effort
from loadtest.suite.subject import Answer, CallFailed, TookTooLong
from loadtest.suite.trial import Extremes, Trial, number_at

EFFORT = Effort(precision=0.05, least=7, most=40, limit=20, discard=2)


def trial(effort: Effort = EFFORT, *, seconds: str | None = None) -> Trial:
    return Trial(
        "cpu",
        64,
        {"n": 64},
        seconds=seconds,
        fields=("checksum",),
        timeout=10,
        effort=effort,
        place=count().__next__,
    )


def answer(run: float = 1.0, **result: Any) -> Answer:
    return Answer(result, run, {})


def warmed(effort: Effort = EFFORT) -> Trial:
    one = trial(effort)
    while not one.warm:
        assert one.take(answer(), 0.001) is None
    return one


def test_calls_are_discarded_before_there_are_samples() -> None:
    one = warmed()
    assert one.samples == []
    one.take(answer(2.0), 0.1)
    assert [(s.order, s.seconds) for s in one.samples] == [(0, 2.0)]


def test_equal_times_are_enough_at_the_least() -> None:
    one = warmed()
    for _ in range(7):
        assert one.stopped is None
        one.take(answer(2.0), 0.1)
    assert one.stopped == "± 0 % after 7"


@given(st.lists(st.floats(0.5, 2.0), min_size=40, max_size=40))
def test_a_cell_ends_with_the_precision_or_with_the_most_samples(times: list[float]) -> None:
    one = warmed(EFFORT.model_copy(update={"limit": 1e9}))
    for seconds in times:
        if one.stopped is None:
            one.take(answer(seconds), 0.001)
    n = len(one.samples)
    assert one.stopped == "40 samples" if n == 40 and "±" not in str(one.stopped) else n >= 7
    if n < 40:
        assert float(str(one.stopped).split()[1]) <= 5


def test_time_ends_a_cell() -> None:
    one = warmed()
    for number in range(8):
        assert one.stopped is None
        one.take(answer(1.0 + number), 2.5)
    assert one.stopped == "time"


def test_with_few_samples_it_may_take_three_times_as_long() -> None:
    one = warmed()
    for number in range(3):
        one.take(answer(1.0 + number), 19)
        assert one.stopped is None
    one.take(answer(4.0), 4)
    assert one.stopped == "time"


def test_a_first_call_beyond_the_limit_has_to_do() -> None:
    one = trial()
    one.take(answer(24.0), 25)
    assert one.stopped == "time: one call took 25 s"
    assert [sample.seconds for sample in one.samples] == [24.0]


def test_warm_up_of_long_calls_is_short() -> None:
    one = trial()
    one.take(answer(6.0), 6)
    assert one.warm
    assert one.samples == []


def test_five_failures_in_a_row_are_enough() -> None:
    one = warmed()
    for _ in range(5):
        assert one.stopped is None
        one.fail(CallFailed("no"), 0.1)
    assert one.stopped == "failures"
    assert one.failures == ["no"] * 5


def test_a_result_begins_the_row_again() -> None:
    one = warmed()
    for _ in range(4):
        one.take(answer(), 0.1)
    for _ in range(4):
        one.fail(CallFailed("no"), 0.1)
    one.take(answer(), 0.1)
    one.fail(CallFailed("no"), 0.1)
    assert one.stopped is None


def test_more_failures_than_results_are_enough_from_ten_calls_on() -> None:
    one = warmed()  # two calls
    for failures in (3, 2):
        for _ in range(failures):
            one.fail(CallFailed("no"), 0.1)
        one.take(answer(), 0.1)
    assert one.stopped is None  # 5 of 9
    for _ in range(2):
        one.fail(CallFailed("no"), 0.1)
    assert one.stopped == "failures"  # 7 of 11


def test_half_of_the_calls_may_fail() -> None:
    one = trial(EFFORT.model_copy(update={"discard": 1}))
    for number in range(100):
        if one.stopped is None:
            one.fail(CallFailed("no"), 0.1)
            one.take(answer(1.0 + number), 0.1)
    assert one.stopped == "40 samples"
    assert len(one.failures) == 41


def test_a_call_that_takes_too_long_tells_how_long_a_larger_one_takes() -> None:
    one = trial()
    one.fail(TookTooLong("took longer than 30 s"), 30)
    assert one.quickest == 30
    assert one.stopped == "failures"  # its time is used up, too


def test_phases_are_told_apart() -> None:
    one = warmed()
    phases = {"compute": 0.2, "transfer_in": 0.3, "transfer_out": 0.4}
    one.take(Answer({}, 1.0, phases), 1.1)
    sample = one.samples[0]
    assert (sample.seconds, sample.transfer_in, sample.transfer_out, sample.run) == (
        0.2,
        0.3,
        0.4,
        1.0,
    )


@pytest.mark.parametrize("told", [{}, {"seconds": 0}, {"seconds": None}, {"seconds": "1"}])
def test_a_result_without_its_seconds_is_no_sample(told: Any) -> None:
    with pytest.raises(CallFailed, match="tells no seconds in 'seconds'"):
        trial(seconds="seconds").take(Answer(told, 1.0, {}), 1.0)


def test_the_extremes_of_a_field_are_kept_and_a_gap_is_not_forgotten() -> None:
    one = trial()
    for checksum in (3.0, 1.0, 2.0):
        one.take(answer(checksum=checksum), 0.1)
    assert one.seen == {"checksum": Extremes(1.0, 3.0)}
    one.take(answer(), 0.1)
    one.take(answer(checksum=1.0), 0.1)
    assert one.seen == {"checksum": None}


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("a", 1.0),
        ("b.0", 2.0),
        ("b.-1", 3.0),
        ("b.2", None),
        ("c.d", 4.0),
        ("c", None),
        ("none", None),
        ("flag", None),
        ("infinite", None),
        ("a.b", None),
        ("b.x", None),
    ],
)
def test_a_number_is_found_by_its_path(path: str, number: float | None) -> None:
    result = {"a": 1, "b": [2, 3.0], "c": {"d": 4}, "flag": True, "infinite": float("inf")}
    assert number_at(result, path) == number


def test_calls_that_are_alike_have_one_key() -> None:
    assert trial().key == trial().key
    assert trial(seconds="seconds").key != trial().key
