"""What is said while the suite runs."""

import io

import orjson
from rich.console import Console

from loadtest.suite.progress import Lines, Watch, doing, duration, said

CELL = {"event": "cell", "case": "matmul", "device": "gpu", "size": 64.0, "done": 1, "total": 2}
BEGAN = {
    "event": "began",
    "devices": [
        {"device": "cpu", "name": "AMD EPYC", "simulated": False, "threads": 2},
        {"device": "gpu", "name": "AMD EPYC", "simulated": True, "threads": 2},
    ],
    "notes": ["no"],
    "done": 0,
    "total": 2,
}


def test_devices_and_notes_are_said_at_the_beginning() -> None:
    assert said(BEGAN) == [
        "cpu: AMD EPYC, 2 threads",
        "gpu: AMD EPYC, simulated on the CPU, 2 threads",
        "note: no",
    ]


def test_a_cell_is_said_only_where_something_went_wrong() -> None:
    assert said(CELL | {"failures": 0, "n": 7, "stopped": "time"}) == []
    assert said(CELL | {"failures": 5, "n": 0, "stopped": "failures"}) == [
        "matmul at 64 on the gpu: 5 calls failed, 0 samples; failures"
    ]


def test_parity_is_said_only_where_it_fails() -> None:
    parity = {"event": "parity", "case": "matmul", "size": 64.0, "reason": "checksum: off"}
    assert said(parity | {"holds": None}) == said(parity | {"holds": True}) == []
    assert said(parity | {"holds": False}) == ["matmul at 64: no parity: checksum: off"]


def test_what_goes_on_is_told_in_a_few_words() -> None:
    sample = CELL | {"event": "sample", "seconds": 0.00012, "n": 3}
    assert doing(sample) == "matmul at 64 on the gpu: 120 µs (3)"
    assert doing(sample | {"size": 0.0}) == "matmul on the gpu: 120 µs (3)"
    assert doing({"event": "ended"}) is None
    assert [duration(s) for s in (2.5, 0.25)] == ["2.5 s", "250 ms"]


def test_events_are_lines_of_json() -> None:
    out = io.StringIO()
    lines = Lines(out)
    lines(BEGAN)
    lines({"event": "ended"})
    assert [orjson.loads(line) for line in out.getvalue().splitlines()] == [
        BEGAN,
        {"event": "ended"},
    ]


def test_a_terminal_shows_what_was_said() -> None:
    out = io.StringIO()
    with Watch(Console(file=out, width=200)) as watch:
        watch(BEGAN)
        watch(CELL | {"failures": 1, "n": 0, "stopped": "failures"})
        watch({"event": "note", "text": "[bold]as it is[/bold]"})
    assert "cpu: AMD EPYC, 2 threads" in out.getvalue()
    assert "note: [bold]as it is[/bold]" in out.getvalue()
