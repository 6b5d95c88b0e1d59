"""What is read from an answer's headers, and from a failure's body."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.answer import LONGEST_EXAMPLE, Answer, phases, retry_after

NOW = datetime(2026, 5, 9, 12, 0, 0, tzinfo=UTC)


def test_phases_are_seconds_by_name() -> None:
    found = phases(b"queue;dur=0.500, start;dur=0.000, run;dur=12.25")
    assert found == [("queue", 0.0005), ("start", 0.0), ("run", 0.01225)]


def test_a_phase_may_have_a_description_and_quotes() -> None:
    assert phases(b'cache;desc="a";dur="2", run;dur=3;desc=b, hit') == [
        ("cache", 0.002),
        ("run", 0.003),
    ]


@pytest.mark.parametrize("value", [b"run;dur=nan", b"run;dur=-1", b"run;dur=inf", b"run;dur=", b""])
def test_a_duration_that_is_none_is_left_out(value: bytes) -> None:
    assert phases(value) == []


@given(st.binary())
def test_no_server_timing_ever_fails_the_load_test(value: bytes) -> None:
    assert all(seconds >= 0 for _, seconds in phases(value))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("Sat, 09 May 2026 12:00:07 GMT", 7.0),
        ("Sat, 09 May 2026 11:00:00 GMT", 0.0),
        ("Sat, 09 May 2026 12:00:02 -0000", 2.0),
        (None, 1.0),
        ("soon", 1.0),
        ("-5", 1.0),
        ("1.5", 1.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_one_second(value: str | None, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


def test_a_failure_says_its_status_and_detail_in_one_line() -> None:
    headers = {b"content-type": b"application/problem+json"}
    answer = Answer(500, headers, b'{"detail": "ValueError:\\n it broke", "title": "x"}')
    assert answer.said == "500 ValueError: it broke"


def test_a_failure_without_problem_details_says_its_body() -> None:
    assert Answer(502, {}, b"<html>\nBad Gateway").said == "502 <html> Bad Gateway"
    broken = Answer(502, {b"content-type": b"application/json"}, b"{")
    assert broken.problem == {}


def test_what_is_said_is_cut_where_it_is_long() -> None:
    said = Answer(500, {}, b"x" * 5000).said
    assert len(said) == LONGEST_EXAMPLE
    assert said.endswith("…")
