"""What a run told by now is read as it is written, line by line."""

from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from console.run_progress import Progress

BEGAN = {"event": "began", "devices": [], "notes": ["busy"], "quick": True, "seed": 1}


def sample(seconds: float, **more: Any) -> dict[str, Any]:
    event = {"event": "sample", "case": "matmul", "device": "cpu", "size": 64.0}
    return event | {"seconds": seconds, "n": 1, "done": 0, "total": 2} | more


def cell(**more: Any) -> dict[str, Any]:
    event = {"event": "cell", "case": "matmul", "device": "cpu", "size": 64.0, "seconds": 2.0}
    told = {"low": None, "high": None, "n": 3, "failures": 1, "stopped": "time"}
    return event | told | {"done": 1, "total": 2} | more


def test_before_anything_is_told_there_is_nothing_to_show(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "none")
    progress.read()
    view = progress.view()
    assert view["total"] is None and view["cells"] == [] and view["share"] == 0
    assert view["doing"] == "looking at this machine"


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    file = tmp_path / "events"
    line = orjson.dumps(sample(2.0)) + b"\n"
    progress = Progress(file)
    with file.open("wb", buffering=0) as out:
        out.write(line + line[:20])
        progress.read()
        assert progress.view()["calls"] == 1
        out.write(line[20:])
        progress.read()
        progress.read()
    assert progress.view()["calls"] == 2


def test_a_cell_has_the_median_of_its_calls_and_why_it_ended() -> None:
    progress = Progress(Path("none"))
    for event in (BEGAN | {"done": 0, "total": 2}, sample(1.0), sample(3.0), sample(2.0), cell()):
        progress.take(event)
    view = progress.view()
    (row,) = view["cells"]
    assert (row["median"], row["n"], row["failures"], row["stopped"]) == (2.0, 3, 1, "time")
    assert row["low"] is None, "three calls have no interval"
    assert (view["done"], view["total"], view["share"]) == (1, 2, 0.5)
    assert view["notes"] == ["busy"]


def test_of_two_measurements_of_a_ceiling_the_better_counts() -> None:
    progress = Progress(Path("none"))
    event = {"event": "ceiling", "device": "cpu", "name": "copy", "unit": "B/s"}
    for rates in ([1.0, 2.0, 3.0], [9.0, 8.0, 7.0], [4.0]):
        progress.take(event | {"rates": rates})
    assert [one["rate"] for one in progress.view()["ceilings"]] == [8.0]


def test_when_all_is_measured_it_is_said_that_the_report_is_written() -> None:
    progress = Progress(Path("none"))
    progress.take({"event": "ended", "seconds": 3.0, "interrupted": None, "notes": ["done"]})
    assert progress.view()["doing"] == "writing the report"
    assert progress.view()["over"]


keys = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["cpu", "gpu"]), st.sampled_from([1.0, 2.0])
)


@given(st.lists(st.tuples(keys, st.booleans()), max_size=60))
def test_the_bar_never_goes_back_and_never_passes_its_end(steps: list[Any]) -> None:
    progress, share, done = Progress(Path("none")), 0.0, set()
    for (case, device, size), ends in steps:
        where = {"case": case, "device": device, "size": size, "total": 8}
        done |= {(case, device, size)} if ends else set()
        make = cell if ends else lambda **more: sample(1.0, **more)
        progress.take(make(**where, done=len(done)))
        now = progress.view()["share"]
        assert share <= now <= 1
        share = now
