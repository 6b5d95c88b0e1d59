"""What replicas did, as a chart."""

from hypothesis import given
from hypothesis import strategies as st

from console.lifelines import MOST_ROWS, lifelines, spans
from runtime.lifeline import Segment
from tests.console.stage import LONG, life


def test_a_row_has_what_a_replica_did_within_the_time_that_is_shown() -> None:
    chart = lifelines([life()], 100.5, 120.0)
    (row,) = chart["data"]["rows"]
    assert row["name"] == "matmul-cpu-1"
    assert row["tone"] == "cpu"
    assert row["segments"] == [
        {"state": "starting", "start": 100_500, "end": 101_000},
        {"state": "ready", "start": 101_000, "end": 110_000},
        {"state": "busy", "start": 110_000, "end": 120_000},
    ]
    assert (chart["data"]["start"], chart["data"]["end"]) == (100_500, 120_000)


def test_the_caption_says_how_many_lived_and_how_busy_they_were() -> None:
    chart = lifelines([life(), life(name="b", ended_at=119.0)], 0.0, 119.0)
    assert "2 replicas lived in the last 1 min 59 s: 1 still does, 1 ended." in chart["caption"]
    assert "busy for 50.0 %" in chart["caption"]  # 9 of 18 seconds each


def test_only_the_newest_are_drawn_and_the_rest_is_counted() -> None:
    chart = lifelines([life(name=f"r{n}") for n in range(MOST_ROWS + 13)], 90.0, 120.0)
    assert [row["name"] for row in chart["data"]["rows"]][:2] == ["r0", "r1"]
    assert len(chart["data"]["rows"]) == len(chart["table"]["rows"]) == MOST_ROWS
    assert "13 more are not" in chart["caption"]


def test_a_life_too_short_to_be_seen_is_still_drawn() -> None:
    blink = life(segments=(Segment("starting", 100.0, 100.001),), ended_at=100.001, ready_at=None)
    (row,) = lifelines([blink], 0.0, 300.0)["data"]["rows"]
    assert row["segments"] == [{"state": "starting", "start": 100_000, "end": 102_000}]


def test_the_table_tells_how_each_one_ended_and_its_whole_name() -> None:
    name = f"{LONG}-gpu-1"
    ended = life(name=name, device="gpu", simulated=True, ended_at=112.0, ending="OOM")
    (row,) = lifelines([ended], 90.0, 120.0)["table"]["rows"]
    assert row[:2] == [name, "GPU, simulated"]
    assert row[2:] == ["12.0 s", "1.00 s", "9.00 s", "2.00 s", "–", "7", "OOM"]


@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=6).map(sorted),
    st.floats(0, 1000),
    st.floats(0, 1000),
)
def test_spans_never_leave_the_time_that_is_shown(
    changes: list[float], start: float, length: float
) -> None:
    ends = [*changes[1:], None]
    segments = tuple(Segment("ready", at, end) for at, end in zip(changes, ends, strict=True))
    now = start + length
    for _, begin, end in spans(life(segments=segments), start, now):
        assert start <= begin < end <= now
