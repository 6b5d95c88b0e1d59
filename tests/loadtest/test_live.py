"""What is shown while a load runs, and that showing it never harms it."""

import io
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from loadtest.live import Lines, Screen, line, view, watching
from loadtest.snapshot import Queue, Snapshot, dumps, loads

SHOT = Snapshot(
    name="mixed",
    url="http://127.0.0.1:8080",
    stage=2,
    stages=3,
    kind="ramp",
    elapsed=12.3,
    length=60.0,
    ending=False,
    throughput=1234,
    latest=(0.0123, 0.2, None),
    overall=(0.010, 0.15, 0.3),
    succeeded=14_000,
    faults=7,
    throttled=3,
    waiting=16,
    held=5,
    saturated=2,
    queues=(
        Queue("matmul", "gpu", backlog=40, replicas=2, busy=1, starting=1),
        Queue("resting", "cpu", backlog=0, replicas=0, busy=0, starting=0),
    ),
)


def test_a_snapshot_is_the_same_after_its_way_to_the_view() -> None:
    assert loads(dumps(SHOT)) == SHOT


def test_the_view_has_everything_and_leaves_out_what_rests() -> None:
    text = view(SHOT).plain
    for told in (
        "mixed → http://127.0.0.1:8080",
        "12 of 60 s",
        "stage 2 of 3 (ramp)",
        "14,000",
        "1,234 a second",
        "p50 12.3 ms, p95 200 ms, p99 –",
        "p50 10.0 ms, p95 150 ms, p99 300 ms",
        "5 held",
        "matmul.gpu",
        "backlog 40",
        "2 replicas (1 busy, 1 starting)",
        "in 2 s the load generator, not the server, was the bottleneck",
    ):
        assert told in text
    assert "resting" not in text


def test_the_view_of_a_trace_has_no_end_and_the_end_says_what_is_awaited() -> None:
    text = view(replace(SHOT, length=None, ending=True, saturated=0)).plain
    assert "of 60" not in text
    assert "waiting for the last answers" in text
    assert "bottleneck" not in text


def test_a_line_says_what_there_is_to_say() -> None:
    assert line(SHOT) == (
        "12 of 60 s, 1,234/s, p50 12.3 ms, p95 200 ms, p99 –, 7 faults, 3 throttled,"
        " 16 in flight, 5 held, matmul.gpu 40 on 2"
    )
    quiet = replace(SHOT, faults=0, throttled=0, held=0, queues=())
    assert line(quiet).endswith("p99 –, 16 in flight")


def test_lines_come_every_five_seconds() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    for number in range(1, 70):
        lines.show(replace(SHOT, elapsed=number / 4))
    told = [said.partition(" ")[0] for said in stream.getvalue().splitlines()]
    assert told == ["5", "10", "15"]


def test_where_it_is_to_be_quiet_nobody_watches() -> None:
    with watching(io.StringIO(), quiet=True) as watch:
        assert watch is None
    with watching(io.StringIO()) as watch:
        assert isinstance(watch, Lines)


def test_a_screen_is_drawn_by_another_process_while_the_load_runs() -> None:
    ours, theirs = os.openpty()
    said = b""
    with os.fdopen(theirs, "w") as stream, Screen(stream) as screen:
        screen.show(SHOT)
        while b"stage 2 of 3" not in said:
            said += os.read(ours, 1 << 16)
    os.close(ours)


def test_a_view_that_is_gone_or_behind_stops_nothing(tmp_path: Path) -> None:
    with (tmp_path / "screen").open("w") as stream, Screen(stream) as screen:
        screen._process.kill()
        screen._process.wait()
        began = time.monotonic()
        for _ in range(10):
            screen.show(SHOT)
        assert time.monotonic() - began < 5


def test_a_terminal_that_does_not_keep_up_misses_moments(tmp_path: Path) -> None:
    with (tmp_path / "screen").open("w") as stream, Screen(stream) as screen:
        screen._process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(200):  # 1 MB, which no pipe holds
            screen.show(replace(SHOT, name="x" * 5000))
        screen._process.send_signal(signal.SIGCONT)
        assert time.monotonic() - began < 10
