"""Messages and reports survive the wire, and what is none of ours is told apart from them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.model import (
    Attempt,
    Device,
    Failure,
    Invocation,
    Message,
    Part,
    Payload,
    Status,
    Unrecorded,
)
from runtime.wire import (
    Report,
    Unreadable,
    decode_message,
    decode_reports,
    encode_message,
    encode_report,
    join_reports,
)

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
optional_bytes = st.none() | st.binary(max_size=50)
seconds = st.floats(0, 4e9)
devices: st.SearchStrategy[Device] = st.sampled_from(("cpu", "gpu"))


def _part(name: str, kind: str, data: bytes | None, key: str | None) -> Part:
    return Part(name, kind, len(data or b""), data, key)


parts = st.builds(_part, names, names, optional_bytes, st.none() | names)
payloads = st.builds(
    Payload, optional_bytes, st.lists(parts, max_size=3).map(tuple), st.none() | names
)
messages = st.builds(
    Message,
    id=names,
    function=names,
    device=devices,
    payload=payloads,
    created_at=seconds,
    attempt=st.integers(1, 50),
    priority=st.integers(-5, 5),
    traceparent=st.none() | names,
    unrecorded=st.none() | st.builds(Unrecorded, names, names),
)
failures = st.builds(
    Failure, names, names, st.none() | names, st.dictionaries(names, st.integers(0, 9), max_size=2)
)
attempts = st.builds(
    Attempt,
    names,
    st.integers(1, 50),
    st.none() | names,
    devices,
    st.none() | seconds,
    st.none() | seconds,
    st.none() | failures,
)
invocations = st.builds(
    Invocation,
    message=messages,
    requested_device=st.just("auto"),
    version=st.just("v"),
    status=st.sampled_from(Status),
    started_at=st.none() | seconds,
    finished_at=st.none() | seconds,
    timings=st.none() | st.dictionaries(names, seconds, max_size=3),
    cold=st.booleans(),
    replica=st.none() | names,
    error=st.none() | failures,
    result=st.none() | parts,
    blobs=st.lists(st.builds(_part, names, names, st.none(), st.none() | names), max_size=2).map(
        tuple
    ),
    log=st.none() | names,
)


@given(messages)
def test_a_message_is_always_the_same_after_the_wire(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(messages, st.data())
def test_a_message_that_is_cut_short_is_never_read(message: Message, data: st.DataObject) -> None:
    body = encode_message(message)
    cut = data.draw(st.integers(0, len(body) - 1))
    try:
        read = decode_message(body[:cut])
    except Unreadable:
        return
    assert read == message, "bytes after the end of a message are nobody's"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\x00\xff\n",
        b"[]\n",
        b"null\n",
        b'{"v":1}\n',
        b'{"v":1,"id":5,"function":"f","device":"cpu","attempt":1,"created_at":1,"n":0}\n',
        b'{"v":1,"id":"a","function":"f","device":"tpu","attempt":1,"created_at":1,"n":0}\n',
        b'{"v":1,"id":"a","function":"f","device":"cpu","attempt":0,"created_at":1,"n":0}\n',
        b'{"v":1,"id":"a","function":"f","device":"cpu","attempt":1,"created_at":"x","n":0}\n',
        b'{"v":1,"id":"a","function":"f","device":"cpu","attempt":1,"created_at":1,"n":9}\n{}',
        b'{"v":1,"id":"a","function":"f","device":"cpu","attempt":1,"created_at":1,"n":"2"}\n{}',
    ],
)
def test_what_is_no_message_is_unreadable_with_a_reason(body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"no Lumbre message|header|version"):
        decode_message(body)


@given(st.binary(max_size=200))
def test_no_bytes_ever_crash_a_reader(body: bytes) -> None:
    for read in (decode_message, lambda given: list(decode_reports(given))):
        try:
            read(body)
        except Unreadable as error:
            assert str(error)


def test_another_version_is_named() -> None:
    with pytest.raises(Unreadable, match="version 2"):
        decode_message(b'{"v":2}\n')


def _as_told(invocation: Invocation) -> dict[str, Any]:
    """What a report says of an invocation."""
    names = ("status", "started_at", "finished_at", "timings", "cold", "replica")
    more = ("error", "result", "blobs", "log")
    message = invocation.message
    told = {name: getattr(invocation, name) for name in (*names, *more)}
    return told | {"id": message.id, "attempt": message.attempt, "device": message.device}


@given(st.lists(st.tuples(invocations, st.none() | attempts), max_size=4))
def test_reports_are_always_the_same_after_the_wire(
    told: list[tuple[Invocation, Attempt | None]],
) -> None:
    body = join_reports(encode_report(invocation, attempt) for invocation, attempt in told)
    heard = list(decode_reports(body))
    assert len(heard) == len(told)
    for report, (invocation, attempt) in zip(heard, told, strict=True):
        assert isinstance(report, Report)
        assert _as_told(report.invocation) == _as_told(invocation)
        if invocation.message.unrecorded:
            assert report.invocation.message == invocation.message
            assert report.invocation.requested_device == (
                invocation.message.unrecorded.requested_device
            )
        if attempt:
            assert report.attempt
            assert report.attempt.error == attempt.error
            assert report.attempt.attempt == attempt.attempt
        else:
            assert report.attempt is None


def test_an_answer_may_leave_the_input_out() -> None:
    message = Message("a", "f", "cpu", Payload(b"x" * 5000), 1.0, unrecorded=Unrecorded("cpu", ""))
    invocation = Invocation(message, "cpu", "", Status.SUCCEEDED)
    assert len(encode_report(invocation, whole=False)) < 1000
    (report,) = decode_reports(encode_report(invocation, whole=False))
    assert isinstance(report, Report)
    assert report.invocation.message.unrecorded is None


def test_a_text_that_json_cannot_hold_does_not_keep_an_outcome_from_being_told() -> None:
    message = Message("a", "f", "cpu", Payload(), 1.0)
    odd = Failure("E", "\ud800", None, {"number": 10**400})
    (report,) = decode_reports(
        encode_report(Invocation(message, "cpu", "", Status.FAILED, error=odd))
    )
    assert isinstance(report, Report)
    assert report.invocation.error
    assert report.invocation.error.message == "?"


def test_what_the_broker_gave_up_on_is_the_message_itself() -> None:
    message = Message("a", "f", "cpu", Payload(b"{}"), 1.0)
    assert list(decode_reports(encode_message(message))) == [message]


def test_reports_are_read_until_the_first_that_is_unreadable() -> None:
    message = Message("a", "f", "cpu", Payload(), 1.0)
    entry = encode_report(Invocation(message, "cpu", "", Status.SUCCEEDED))
    heard = []
    with pytest.raises(Unreadable):
        heard += list(decode_reports(b"junk"))
    reading = decode_reports(entry + b"junk")
    heard.append(next(reading))
    with pytest.raises(Unreadable):
        next(reading)
    assert len(heard) == 1
