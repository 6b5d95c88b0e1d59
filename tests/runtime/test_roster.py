"""What gateways know of replicas elsewhere, by what their workers announce."""

import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import roster
from runtime.lifeline import MAX_SEGMENTS, Lifeline, ReplicaLife, Segment
from runtime.roster import Roster, heard, told

BORN = 1_700_000_000.125  # unix seconds


def life(name: str = "quick-cpu-1", line: Lifeline | None = None, **changes: Any) -> ReplicaLife:
    line = line or Lifeline(BORN)
    made = ReplicaLife(
        name=name,
        function="quick",
        device="cpu",
        simulated=False,
        worker="here-1",
        pid=None,
        gpu=None,
        state=line.state,
        spawned_at=BORN,
        ready_at=None,
        ended_at=line.ended_at,
        setup=0.0,
        served=0,
        busy=0.0,
        memory=2**20,
        gpu_memory=None,
        ending=None,
        segments=line.segments(),
    )
    return replace(made, **changes)


def worked(times: int) -> Lifeline:
    """One that had a job of half a second every second."""
    line = Lifeline(BORN)
    line.ready(BORN + 0.25)
    for n in range(times):
        line.work(BORN + n + 1)
        line.rest(BORN + n + 1.5)
    return line


def test_what_a_worker_tells_is_what_a_gateway_hears() -> None:
    line = worked(3)
    line.drain(BORN + 5)
    line.end(BORN + 6)
    lives = [
        life("a", pid=7, gpu="0", device="gpu", gpu_memory=2**30),
        life("b", line, ending="scaled in"),
        life("c", worked(2)),
    ]
    found = {one.name: one for one in heard(told(lives))}
    assert found == {one.name: one for one in lives}


def test_an_announcement_stays_small_however_many_replicas_there_are() -> None:
    lives = [life(f"quick-cpu-{n}", worked(90)) for n in range(1000)]
    body = told(lives)
    assert len(body) < 200_000
    assert len(heard(body)) == roster.MAX_REPLICAS
    assert {len(one.segments) for one in heard(body)} == {20}
    assert {len(one.segments) for one in heard(told(lives[:2]))} == {roster.MAX_TOLD}


def test_those_that_live_are_told_before_those_that_ended() -> None:
    dead = Lifeline(BORN)
    dead.end(BORN + 1)
    many = [life(f"dead-{n}", dead, spawned_at=BORN + n) for n in range(300)]
    assert "alive" in {one.name for one in heard(told([*many, life("alive")]))}


def test_segments_that_are_told_no_more_are_remembered() -> None:
    known = Roster()
    for times in range(5, 60, 10):
        known.heard("w", told([life("a", worked(times))]))
    (found,) = known.lives()
    assert found.segments == worked(55).segments()


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 900)), max_size=40))
def test_a_gateway_that_hears_all_knows_what_the_worker_knows(
    steps: list[tuple[int, int]],
) -> None:
    known, line, now = Roster(), Lifeline(BORN), BORN + 0.125
    line.ready(now)
    for jobs, pause in steps:
        for _ in range(jobs):
            now += pause / 1000
            line.work(now)
            now += 0.125
            line.rest(now)
        known.heard("w", told([life("a", line)]))
        (found,) = known.lives()
        assert len(found.segments) <= MAX_SEGMENTS
        assert all(a.end == b.start and a.state != b.state for a, b in pairwise(found.segments))
        assert [s.state for s in found.segments] == [s.state for s in line.segments()]
        for ours, theirs in zip(found.segments, line.segments(), strict=True):
            assert abs(ours.start - theirs.start) <= 1e-6


def test_another_replica_of_the_same_name_does_not_inherit() -> None:
    known = Roster()
    known.heard("w", told([life("a", worked(3))]))
    born = BORN + 100
    known.heard("w", told([life("a", Lifeline(born), spawned_at=born)]))
    (found,) = known.lives()
    assert found.segments == (Segment("starting", born, None),)


def test_replicas_of_a_worker_that_left_have_ended_and_are_told_of_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Roster()
    gone = Lifeline(BORN)
    gone.end(BORN + 1)
    known.heard("w", told([life("a"), life("b", gone, ending="scaled in")]))
    known.heard("other", told([life("c", worker="there-2")]))
    before = time.time()
    known.left("w", "its worker was not heard of any more")
    found = {one.name: one for one in known.lives()}
    assert found["a"].state == "ended" and found["a"].memory == 0
    assert found["a"].ending == "its worker was not heard of any more"
    assert found["a"].ended_at is not None and found["a"].ended_at >= before
    assert found["a"].segments[-1].end == found["a"].ended_at
    assert (found["b"].ending, found["b"].ended_at) == ("scaled in", BORN + 1)
    assert found["c"].state == "starting"
    monkeypatch.setattr(roster, "REMEMBERED", -1.0)
    assert [one.name for one in known.lives()] == ["c"]


def test_a_worker_that_is_heard_of_again_never_left() -> None:
    known = Roster()
    for times in (15, 30):
        known.heard("w", told([life("a", worked(times))]))
    known.left("w", "its worker was not heard of any more")
    known.heard("w", told([life("a", worked(31))]))
    (found,) = known.lives()
    assert (found.state, found.ending) == ("ready", None)
    assert found.segments == worked(31).segments()


@pytest.mark.parametrize(
    "body", [b"", b"7", b"[1]", b'[{"name": "a"}]', b'[{"segments": [["x", 1]]}]', b'{"a": 1}']
)
def test_what_is_no_announcement_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Roster().heard("w", body)


def test_what_a_newer_worker_says_besides_is_left_out() -> None:
    more = orjson.dumps([orjson.loads(told([life()]))[0] | {"surplus": 1}])
    assert heard(more) == [life()]


def test_what_an_older_worker_does_not_say_of_failures_is_nothing() -> None:
    said = orjson.loads(told([life(failed=3, failed_in_a_row=2, proven_at=BORN)]))[0]
    for name in ("failed", "failed_in_a_row", "proven_at"):
        del said[name]
    assert heard(orjson.dumps([said])) == [life()]
