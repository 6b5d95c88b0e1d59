"""What is read from outside: the trace of runs, the table's rows, and what is left in queues."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from loadtest.chaos.campaign import is_left_over
from loadtest.chaos.order import digest
from loadtest.chaos.record import Record, rows_of_sqlite, rows_of_text
from loadtest.chaos.runs import Run, runs_of
from loadtest.servers import QueueRow


def test_runs_are_read_by_invocation_in_their_order(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text("a 1 10.5\nb 1 11.0\na 2 12.25\n")
    assert runs_of(trace) == {"a": [Run(1, 10.5), Run(2, 12.25)], "b": [Run(1, 11.0)]}


def test_rows_are_the_same_from_either_ledger(tmp_path: Path) -> None:
    rows = [
        ("a", "f", "succeeded", 1, 5.0, '{"n":  1}'),
        ("b", "f", "queued", 2, None, None),
    ]
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "CREATE TABLE invocations (id, function, status, attempt, finished_at, result)"
        )
        connection.executemany("INSERT INTO invocations VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    text = "\n".join(json.dumps(row) for row in rows)
    wanted = [
        Record("a", "f", "succeeded", 1, 5.0, digest({"n": 1})),
        Record("b", "f", "queued", 2, None),
    ]
    assert rows_of_sqlite(file) == rows_of_text(text) == wanted
    assert [row.terminal for row in wanted] == [True, False]


@pytest.mark.parametrize(
    ("row", "left"),
    [
        (QueueRow("chaos_quick.cpu", 1, 0, 1, "quorum"), True),
        (QueueRow("results", 0, 1, 1, "quorum"), True),
        (QueueRow("retry.1s", 0, 0, 0, "quorum"), False),
        (QueueRow("chaos_doomed.dead", 3, 0, 0, "quorum"), False),
        (QueueRow("cancellations", 9, 0, 2, "stream"), False),
        (QueueRow("amq.gen-x", 2, 0, 1, "classic"), False),
    ],
)
def test_what_is_left_in_a_queue_is_told_from_what_may_stay(row: QueueRow, left: bool) -> None:
    assert is_left_over(row) is left
