"""What a replica is remembered to have done."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runtime.lifeline import GAP, MAX_SEGMENTS, Lifeline, Segment


def served(*spans: tuple[float, float], at: float = 100.0) -> Lifeline:
    """A replica that was spawned a second before it was ready, and had work during each span."""
    line = Lifeline(at - 1)
    line.ready(at)
    for start, end in spans:
        line.work(start)
        line.rest(end)
    return line


def test_a_life_is_told_from_its_spawn_to_its_end() -> None:
    line = served((101, 102))
    line.drain(104)
    line.end(105)
    assert line.segments() == (
        Segment("starting", 99, 100),
        Segment("ready", 100, 101),
        Segment("busy", 101, 102),
        Segment("ready", 102, 104),
        Segment("draining", 104, 105),
    )
    assert line.state == "ended"
    assert line.busy(200) == 1


def test_what_it_does_now_has_no_end_yet() -> None:
    line = served()
    assert line.segments()[-1] == Segment("ready", 100, None)
    line.work(101)
    assert (line.state, line.segments()[-1]) == ("busy", Segment("busy", 101, None))
    assert line.busy(103.5) == 2.5


def test_jobs_that_follow_at_once_are_one_stretch_of_work() -> None:
    line = served((101, 102), (102 + GAP / 2, 103), (103, 104))
    assert line.segments()[2:] == (Segment("busy", 101, 104), Segment("ready", 104, None))
    assert line.busy(200) == 3 - GAP / 2  # what it waited in between is not work


def test_a_pause_as_long_as_the_gap_is_told() -> None:
    line = served((101, 102), (102 + GAP, 103))
    assert [s.state for s in line.segments()[2:]] == ["busy", "ready", "busy", "ready"]


def test_a_first_job_right_after_the_start_leaves_both_as_they_were() -> None:
    line = served((100.1, 101))
    assert [s.state for s in line.segments()] == ["starting", "ready", "busy", "ready"]


def test_work_that_is_finished_while_draining_is_counted_and_stays_draining() -> None:
    line = served()
    line.work(101)
    line.drain(102)
    line.rest(104)
    line.end(105)
    assert [s.state for s in line.segments()] == ["starting", "ready", "busy", "draining"]
    assert line.busy(200) == 3


def test_who_dies_at_work_has_worked_until_then() -> None:
    line = served()
    line.work(101)
    line.end(103)
    assert line.busy(200) == 2
    assert line.segments()[-1].end == 103


spans = st.lists(st.tuples(st.floats(0.001, 2), st.floats(0.001, 2)), max_size=300)


@given(spans)
def test_segments_never_overlap_leave_no_gap_and_are_never_too_many(
    pauses_and_works: list[tuple[float, float]],
) -> None:
    line, now = served(), 100.0
    for pause, work in pauses_and_works:
        line.work(now + pause)
        line.rest(now + pause + work)
        now += pause + work
    found = line.segments()
    assert 0 < len(found) <= MAX_SEGMENTS
    assert all(a.end == b.start and a.state != b.state for a, b in pairwise(found))
    assert all(s.end is None or s.start <= s.end for s in found)
    assert abs(line.busy(now) - sum(work for _, work in pauses_and_works)) < 1e-6
