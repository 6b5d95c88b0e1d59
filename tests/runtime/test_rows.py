"""Two reports of one invocation as one."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import rows
from runtime.model import (
    TERMINAL,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
    Unrecorded,
)

RUNNING, QUEUED, SUCCEEDED, FAILED = (
    Status.RUNNING,
    Status.QUEUED,
    Status.SUCCEEDED,
    Status.FAILED,
)


def report(status: Status, attempt: int = 1, **fields: Any) -> Invocation:
    """A report of one and the same invocation."""
    named = {k: fields.pop(k) for k in ("unrecorded", "payload", "device") if k in fields}
    given: dict[str, Any] = {"device": "cpu", "payload": Payload()} | named
    message = Message("id", "noop", created_at=1.0, attempt=attempt, **given)
    return Invocation(message, "auto", "v1", status, **fields)


@pytest.mark.parametrize(
    ("early", "late", "newer"),
    [
        (report(QUEUED), report(RUNNING), True),
        (report(RUNNING), report(QUEUED), False),
        (report(RUNNING), report(RUNNING), True),
        (report(RUNNING), report(QUEUED, 2), True),
        (report(QUEUED, 2), report(RUNNING, 1), False),
        (report(QUEUED, 2), report(RUNNING, 2), True),
        (report(RUNNING, 9), report(SUCCEEDED, 1), True),
        (report(SUCCEEDED, 1), report(RUNNING, 9), False),
        (report(SUCCEEDED), report(FAILED), False),
    ],
)
def test_what_is_newer(early: Invocation, late: Invocation, newer: bool) -> None:
    assert rows.is_newer(late, early) is newer


statuses = st.builds(report, st.sampled_from(list(Status)), st.integers(1, 3))


@given(statuses, statuses)
def test_of_two_reports_the_newer_always_counts_and_both_orders_agree(
    a: Invocation, b: Invocation
) -> None:
    one, other = rows.merged(a, b), rows.merged(b, a)
    if not (a.terminal and b.terminal):  # of two outcomes it is the first
        assert (one.status, one.message.attempt) == (other.status, other.message.attempt)
    assert one.terminal == (a.terminal or b.terminal)
    if not one.terminal:
        assert one.message.attempt == max(a.message.attempt, b.message.attempt)


@given(st.lists(statuses, min_size=1))
def test_the_first_outcome_among_many_always_stays(reports: list[Invocation]) -> None:
    told = reports[0]
    for late in reports[1:]:
        told = rows.merged(told, late)
    ends = [each.status for each in reports if each.status in TERMINAL]
    assert (told.status in TERMINAL) == bool(ends)
    if ends:
        assert told.status == ends[0]


@pytest.mark.parametrize("input_first", [True, False])
def test_the_input_is_that_of_whoever_has_it(input_first: bool) -> None:
    whole = report(
        RUNNING,
        payload=Payload(b'{"n":1}'),
        unrecorded=Unrecorded("auto", "v1"),
        idempotency_key="k",
        callback="u",
    )
    outcome = report(
        SUCCEEDED, 2, device="gpu", result=Part("result", "x/y", 1, b"1"), finished_at=5.0, log="l"
    )
    told = rows.merged(whole, outcome) if input_first else rows.merged(outcome, whole)
    assert told.message.payload.parameters == b'{"n":1}'
    assert told.message.unrecorded == whole.message.unrecorded
    assert (told.idempotency_key, told.callback) == ("k", "u")
    assert rows.state(told) == rows.state(outcome)


def test_what_was_published_is_so_whoever_says_it() -> None:
    for early, late in ((False, True), (True, False)):
        told = rows.merged(report(QUEUED, published=early), report(RUNNING, published=late))
        assert told.published
        assert told.status is RUNNING


def test_a_report_that_changes_is_still_the_same_one() -> None:
    invocation = report(RUNNING)
    assert rows.merged(invocation, invocation) is invocation


@given(st.lists(st.tuples(st.text(), st.none() | st.integers() | st.floats(allow_nan=False))))
def test_rows_are_always_encoded_and_what_json_can_hold_is_kept(
    given: list[tuple[Any, ...]],
) -> None:
    decoded = orjson.loads(rows.encode(given))
    for row, (text, number) in zip(given, decoded, strict=True):
        assert text == rows.storable(row[0])
        assert "\0" not in text
        if isinstance(row[1], int) and not -(2**63) <= row[1] < 2**63:
            continue
        assert number == row[1] or abs(row[1] or 0) == float("inf")


def test_a_nul_within_json_within_a_text_is_kept() -> None:
    nested = '{"a":"\\u0000"}'
    assert orjson.loads(rows.encode([(nested, "a\0b")])) == [
        [nested, "a\N{REPLACEMENT CHARACTER}b"]
    ]


def test_an_update_of_the_same_state_writes_the_same_row() -> None:
    invocation = report(SUCCEEDED, result=Part("result", "application/json", 2, b"42"))
    assert rows.state(invocation) == rows.state(replace(invocation, callback="u"))
