"""Where the time of an invocation went."""

from types import SimpleNamespace
from typing import Any, cast

from runtime.model import Message, Outcome, Payload, Status
from runtime.timings import timings

MESSAGE = Message("1", "f", "cpu", Payload(), created_at=100.0)
PROCESS = cast(Any, SimpleNamespace(ready_at=100.4, spawned_at=100.1, served=0))


def test_a_cold_start_is_told_apart_from_waiting() -> None:
    spent = timings(MESSAGE, PROCESS, Outcome(Status.SUCCEEDED, run=1.0), 100.5, cold=True)
    assert {name: round(took, 6) for name, took in spent.items()} == {
        "queue": 0.2,
        "start": 0.3,
        "run": 1.0,
    }


def test_a_phase_of_the_function_never_stands_for_what_was_measured() -> None:
    phases = {"run": 77.0, "queue": 77.0, "compute": 0.25}
    outcome = Outcome(Status.SUCCEEDED, run=1.0, phases=phases)
    spent = timings(MESSAGE, PROCESS, outcome, 100.0, cold=False)
    assert spent == {"queue": 0.0, "start": 0.0, "run": 1.0, "compute": 0.25}


def test_clocks_that_disagree_make_no_negative_time() -> None:
    spent = timings(MESSAGE, PROCESS, Outcome(Status.SUCCEEDED, run=1.0), 99.0, cold=False)
    assert min(spent.values()) >= 0.0
