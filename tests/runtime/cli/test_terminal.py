"""Words and numbers on a terminal."""

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from runtime.audit import Audit
from runtime.auditor import Reckoning, reckoning_view
from runtime.cli import terminal
from runtime.cli.following import Following
from runtime.cli.terminal import at, duration, plain, problem, timing
from runtime.model import Status


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "0 ms"),
        (0.00071, "0.7 ms"),
        (0.0094, "9.4 ms"),
        (0.0096, "10 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.254, "1.25 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (7200, "2 h"),
        (12000, "3 h 20 min"),
        (200_000, "2 days"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@given(st.floats(0, 1e9))
def test_a_duration_is_always_short(seconds: float) -> None:
    assert 1 < len(duration(seconds)) <= 12


def test_timing_names_the_phases_of_the_function_within_the_run() -> None:
    told = timing({"queue": 0.001, "start": 0.0, "run": 0.5, "decode": 0.25})
    assert told == "501 ms (queue 1.0 ms, start 0 ms, run 500 ms; decode 250 ms)"


def test_an_instant_is_shown_in_this_machines_time() -> None:
    moment = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert at("2026-11-23T12:00:00.000000Z") == moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def said(what: object) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_users_write_has_no_effect_on_the_terminal() -> None:
    assert said(plain("[red]a[/red] \x1b[2J")) == "[red]a[/red] ␛[2J\n"


def test_a_problem_shows_its_faults_or_else_its_detail_and_its_traceback() -> None:
    faults = [{"pointer": "/a", "detail": "is wrong"}, {"pointer": "", "detail": "is none"}]
    assert said(problem({"title": "T", "status": 422, "detail": "d", "errors": faults})) == (
        "T (422)\n  a: is wrong\n  input: is none\n"
    )
    failed = {"title": "T", "status": 500, "detail": "d", "error": {"traceback": "Trace\n"}}
    assert said(problem(failed)) == "T (500)\n  d\nTrace\n"


def test_an_audit_that_does_not_hold_lists_what_is_wrong() -> None:
    found = Reckoning(Audit(1200, {Status.DEAD: 1}, 0, 0, ("P", "Q")))
    shown = said(terminal.audit(reckoning_view(found)))
    assert "1,200" in shown
    assert shown.endswith("does not hold:\n  P\n  Q\n")


def test_output_that_comes_in_pieces_is_shown_in_lines() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    following = Following(console, "f")
    with following.shown():
        for piece in ("a", "b\nc", "", "\nd"):
            following.show("log", {"text": piece})
        following.show("progress", {"value": {"n": 1}})
        following.show("progress", {"fraction": None, "loss": 0.5})
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == 'ab\nc\nd\n→ {"n":1}\nloss=0.5\n'
