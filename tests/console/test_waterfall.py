"""An invocation's time as parts that add up to the whole."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console import render
from console.waterfall import Kind, Waterfall, waterfall
from runtime.lifeline import ReplicaLife
from runtime.model import TERMINAL, Attempt, Failure, Invocation, Message, Payload, Status

PROPERTY = settings(deadline=None)
BEGAN = 1_000.0  # unix seconds


def record(status: Status = Status.SUCCEEDED, attempt: int = 1, **fields: Any) -> Invocation:
    message = Message("0" * 32, "matmul", "cpu", Payload(), BEGAN, attempt)
    return Invocation(message, "auto", "v1", status, **fields)


def died(attempt: int, started_at: float | None, finished_at: float | None) -> Attempt:
    error = Failure("ReplicaDied", "it ended")
    return Attempt("0" * 32, attempt, "matmul-cpu-1", "cpu", started_at, finished_at, error)


def life(spawned_at: float, ready_at: float | None, setup: float = 0.0) -> ReplicaLife:
    return ReplicaLife(
        name="matmul-cpu-1",
        function="matmul",
        device="cpu",
        simulated=False,
        worker="w",
        pid=1,
        gpu=None,
        state="ready",
        spawned_at=spawned_at,
        ready_at=ready_at,
        ended_at=None,
        setup=setup,
        served=0,
        busy=0.0,
        memory=0,
        gpu_memory=None,
        ending=None,
        segments=(),
    )


def kinds(shown: Waterfall) -> list[Kind]:
    return [part.kind for part in shown.parts]


def seconds(shown: Waterfall) -> list[float]:
    return [round(part.seconds, 6) for part in shown.parts]


def test_a_warm_success_is_queued_running_and_reported() -> None:
    timings = {"queue": 0.1, "start": 0.0, "run": 0.8}
    shown = waterfall(
        record(started_at=BEGAN + 0.1, finished_at=BEGAN + 1.0, timings=timings), now=0.0
    )
    assert kinds(shown) == ["queued", "running", "reported"]
    assert seconds(shown) == [0.1, 0.8, 0.1]
    assert [part.at for part in shown.parts] == pytest.approx([0, 0.1, 0.9])
    assert shown.sentence == "80 % of 1.00 s was the function running."
    assert shown.over and not shown.notes


def test_a_cold_start_lies_between_the_queue_and_the_run() -> None:
    timings = {"queue": 0.2, "start": 3.4, "run": 0.5}
    shown = waterfall(
        record(started_at=BEGAN + 3.6, finished_at=BEGAN + 4.1, timings=timings, cold=True),
        now=0.0,
    )
    assert kinds(shown) == ["queued", "cold", "running", "reported"]
    assert seconds(shown) == [0.2, 3.4, 0.5, 0.0]
    assert shown.sentence == "83 % of 4.10 s was a cold start."


def test_a_cold_start_is_told_apart_where_the_replica_is_known() -> None:
    timings = {"queue": 0.2, "start": 3.4, "run": 0.5}
    invocation = record(started_at=BEGAN + 3.6, finished_at=BEGAN + 4.1, timings=timings, cold=True)
    shown = waterfall(invocation, now=0.0, life=life(BEGAN + 0.1, BEGAN + 3.5, setup=2.4))
    phases = [(p.name, round(p.seconds, 6)) for p in shown.parts[1].phases]
    assert phases == [("spawn and import", 1.0), ("setup", 2.4)]
    assert shown.sentence == "83 % of 4.10 s was a cold start, mostly setup (2.40 s)."


def test_a_running_one_tells_its_cold_start_already() -> None:
    invocation = record(Status.RUNNING, started_at=BEGAN + 3.6, cold=True)
    shown = waterfall(invocation, now=BEGAN + 4.6, life=life(BEGAN + 0.1, BEGAN + 3.5))
    assert kinds(shown) == ["queued", "cold", "running"]
    assert seconds(shown) == [0.2, 3.4, 1.0]


def test_the_phases_of_a_function_stand_within_its_run() -> None:
    timings = {"queue": 0.0, "start": 0.0, "run": 1.0, "load": 0.1, "compute": 0.7}
    shown = waterfall(record(started_at=BEGAN, finished_at=BEGAN + 1, timings=timings), now=0.0)
    running = shown.parts[1]
    assert [phase.name for phase in running.phases] == ["load", "compute", "in no phase"]
    assert math.fsum(phase.seconds for phase in running.phases) == pytest.approx(running.seconds)
    assert shown.sentence == "All of 1.00 s was the function running, mostly compute (700 ms)."


def test_phases_within_one_another_are_said_to_be_so() -> None:
    timings = {"queue": 0.0, "start": 0.0, "run": 1.0, "outer": 0.9, "inner": 0.8}
    shown = waterfall(record(started_at=BEGAN, finished_at=BEGAN + 1, timings=timings), now=0.0)
    assert "within one another" in shown.notes[0]


def test_one_that_waits_is_queued_until_now() -> None:
    shown = waterfall(record(Status.QUEUED), now=BEGAN + 12)
    assert kinds(shown) == ["queued"] and shown.seconds == 12
    assert not shown.over
    assert shown.sentence == "So far: all of 12.0 s was waiting in the queue."


def test_a_lost_attempt_stands_where_it_was() -> None:
    attempts = [died(1, BEGAN + 1, BEGAN + 3), died(2, BEGAN + 4, BEGAN + 6)]
    timings = {"queue": 7.0, "start": 0.0, "run": 1.0}
    invocation = record(attempt=3, started_at=BEGAN + 7, finished_at=BEGAN + 8, timings=timings)
    shown = waterfall(invocation, attempts, now=0.0)
    expected = ["queued", "lost", "queued", "lost", "queued", "running", "reported"]
    assert kinds(shown) == expected
    assert seconds(shown) == [1, 2, 1, 2, 1, 1, 0]
    assert shown.parts[2].name == "queued again"
    assert shown.parts[5].name == "running, attempt 3"
    assert shown.sentence.startswith("50 % of 8.00 s was lost with attempts")


@pytest.mark.parametrize("status", [Status.QUEUED, Status.CANCELLED])
def test_one_that_waits_for_its_next_attempt_does_not_run(status: Status) -> None:
    """Its record still has the start of the attempt before."""
    finished_at = BEGAN + 9 if status in TERMINAL else None
    invocation = record(status, attempt=2, started_at=BEGAN + 1, finished_at=finished_at)
    shown = waterfall(invocation, [died(1, BEGAN + 1, BEGAN + 3)], now=BEGAN + 9)
    assert kinds(shown) == ["queued", "lost", "queued"]
    assert seconds(shown) == [1, 2, 6]


def test_one_that_was_cancelled_while_it_ran_has_no_report() -> None:
    invocation = record(Status.CANCELLED, started_at=BEGAN + 1, finished_at=BEGAN + 3)
    assert kinds(waterfall(invocation, now=0.0)) == ["queued", "running"]


def test_an_attempt_that_nobody_wrote_down_is_mentioned() -> None:
    invocation = record(attempt=2, started_at=BEGAN + 1, finished_at=BEGAN + 3)
    assert "earlier attempt" in waterfall(invocation, now=0.0).notes[0]


def test_clocks_that_disagree_make_nothing_negative_and_are_mentioned() -> None:
    timings = {"queue": 0.0, "start": 0.0, "run": 0.5}
    invocation = record(started_at=BEGAN - 0.2, finished_at=BEGAN + 0.4, timings=timings)
    shown = waterfall(invocation, now=0.0)
    assert seconds(shown) == [0, 0.5, 0.1]
    assert shown.seconds == pytest.approx(0.6)
    assert "disagree by 200 ms" in shown.notes[0]


def test_a_run_longer_than_the_gap_between_two_clocks_counts_as_it_was_measured() -> None:
    timings = {"queue": 0.0, "start": 0.0, "run": 0.5}
    invocation = record(started_at=BEGAN, finished_at=BEGAN + 0.1, timings=timings)
    shown = waterfall(invocation, now=0.0)
    assert seconds(shown) == [0, 0.5, 0]
    assert "disagree by 400 ms" in shown.notes[0]


offsets = st.floats(-5, 1e6) | st.sampled_from([0.0, 1e-7, 0.3])
spans = st.floats(0, 1e6) | st.sampled_from([0.0, 1e-9, 0.1])


@st.composite
def records(draw: st.DrawFn) -> tuple[Invocation, list[Attempt], float, ReplicaLife | None]:
    """Any record with any instants, in any order."""
    instant = st.none() | offsets.map(lambda offset: BEGAN + offset)
    status = draw(st.sampled_from(list(Status)))
    phases = st.dictionaries(st.sampled_from(["load", "compute"]), spans)
    ours = st.fixed_dictionaries({"queue": spans, "start": spans, "run": spans})
    timings = draw(st.none() | st.builds(lambda a, b: a | b, ours, phases))
    invocation = record(
        status,
        draw(st.integers(1, 4)),
        started_at=draw(instant),
        finished_at=draw(instant) if status in TERMINAL else None,
        timings=timings,
        cold=draw(st.booleans()),
    )
    attempts = [died(n, draw(instant), draw(instant)) for n in range(draw(st.integers(0, 3)))]
    lives = st.builds(life, offsets.map(lambda o: BEGAN + o), instant, spans)
    return invocation, attempts, BEGAN + draw(offsets), draw(st.none() | lives)


@PROPERTY
@given(records())
def test_parts_always_add_up_to_the_whole_and_none_is_negative(
    given: tuple[Invocation, list[Attempt], float, ReplicaLife | None],
) -> None:
    invocation, attempts, now, replica = given
    shown = waterfall(invocation, attempts, now=now, life=replica)
    assert shown.parts
    assert all(part.seconds >= 0 and 0 <= part.share <= 1 for part in shown.parts)
    assert math.fsum(part.seconds for part in shown.parts) == shown.seconds
    assert math.fsum(part.share for part in shown.parts) == pytest.approx(
        1.0 if shown.seconds else 0.0
    )
    at = 0.0
    for part in shown.parts:
        assert part.at == pytest.approx(at)
        at += part.seconds
        assert all(phase.seconds >= 0 for phase in part.phases)
        if part.kind == "cold" and part.phases:
            together = math.fsum(phase.seconds for phase in part.phases)
            assert together == pytest.approx(part.seconds)


@PROPERTY
@given(
    wait=st.floats(0, 1e4),
    run=st.floats(0, 1e4),
    report=st.floats(0, 1e4),
    cold=st.floats(0, 1),
    tries=st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), max_size=3),
)
def test_with_one_clock_the_whole_is_always_from_acceptance_to_the_end(
    wait: float, run: float, report: float, cold: float, tries: list[tuple[float, float]]
) -> None:
    at = BEGAN
    attempts = []
    for number, (waited, ran) in enumerate(tries, 1):
        attempts.append(died(number, at + waited, at + waited + ran))
        at = at + waited + ran
    started_at = at + wait
    finished_at = started_at + run + report
    timings = {"queue": wait - wait * cold, "start": wait * cold, "run": run}
    invocation = record(
        attempt=len(tries) + 1, started_at=started_at, finished_at=finished_at, timings=timings
    )
    shown = waterfall(invocation, attempts, now=0.0)
    assert shown.seconds == pytest.approx(finished_at - BEGAN, abs=2e-3)
    assert not any("disagree" in note for note in shown.notes)


def drawn(shown: Waterfall) -> str:
    template = '{% import "waterfall.html" as falls %}{{ falls.waterfall(w, "w") }}'
    return render.environment().from_string(template).render(w=shown)


def test_it_is_drawn_without_a_style_and_says_every_part_as_text() -> None:
    timings = {"queue": 0.2, "start": 3.4, "run": 0.5, "compute": 0.4}
    invocation = record(started_at=BEGAN + 3.6, finished_at=BEGAN + 4.1, timings=timings, cold=True)
    html = drawn(waterfall(invocation, now=0.0))
    assert "style=" not in html
    for text in ("queued", "cold start", "running", "compute", "3.40 s", "83 %", "4.10 s"):
        assert text in html
    assert 'fill="url(#w-cold)"' in html and 'id="w-cold"' in html


def test_nothing_at_all_is_drawn_too() -> None:
    shown = waterfall(record(Status.QUEUED), now=BEGAN)
    assert shown.sentence == "It was accepted just now."
    assert "0 ms" in drawn(shown)
