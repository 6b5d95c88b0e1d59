"""Blocks of properties are byte for byte what pika encodes, and read as pika decodes them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pika import exceptions, spec  # type: ignore[import-untyped]

from runtime.brokers import properties

PROPERTY = settings(deadline=None)  # a busy machine is no failure
SHORT = st.text(max_size=60)  # of up to 240 bytes
HEADERS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(SHORT, values, max_size=3),
    max_leaves=8,
)
OURS: dict[str, st.SearchStrategy[Any]] = {
    "content_type": SHORT,
    "headers": st.dictionaries(SHORT, HEADERS, max_size=4),
    "delivery_mode": st.integers(0, 255),
    "priority": st.integers(0, 255),
    "correlation_id": SHORT,
    "reply_to": SHORT,
    "expiration": SHORT,
    "message_id": SHORT,
    "type": SHORT,
}
THEIRS = OURS | {
    "content_encoding": SHORT,
    "timestamp": st.integers(0, 2**64 - 1),
    "user_id": SHORT,
    "app_id": SHORT,
    "cluster_id": SHORT,
}


def by_pika(**values: Any) -> bytes:
    return b"".join(spec.BasicProperties(**values).encode())


@PROPERTY
@given(st.fixed_dictionaries({}, optional=OURS))
def test_a_block_is_always_what_pika_encodes(values: dict[str, Any]) -> None:
    assert properties.encode_properties(**values) == by_pika(**values)


@PROPERTY
@given(st.fixed_dictionaries({}, optional=THEIRS))
def test_every_field_is_always_read_as_it_was_set(values: dict[str, Any]) -> None:
    block = by_pika(**values)
    assert properties.message_id(block) == values.get("message_id")
    assert properties.reply_to(block) == values.get("reply_to")
    assert properties.correlation_id(block) == values.get("correlation_id")
    decoded = spec.BasicProperties().decode(block).headers
    assert properties.headers(block) == (decoded or {})


def test_further_words_of_flags_are_passed_over() -> None:
    block = by_pika(message_id="one", reply_to="two", headers={"a": 1})
    longer = bytes((block[0], block[1] | 1)) + bytes((0, 1)) + bytes((128, 0)) + block[2:]
    assert properties.message_id(longer) == "one"
    assert properties.reply_to(longer) == "two"
    assert properties.headers(longer) == {"a": 1}


@pytest.mark.parametrize("name", ["message_id", "reply_to", "correlation_id"])
def test_text_that_is_no_text_is_read_and_written_as_it_was(name: str) -> None:
    block = by_pika(**{name: b"\xff\x00b\xe9"})
    read = getattr(properties, name)(block)
    assert isinstance(read, str)
    values: dict[str, Any] = {name: read}
    assert properties.encode_properties(**values) == block


def test_a_header_whose_name_is_no_text_has_a_name_of_text() -> None:
    block = by_pika(headers={b"\xff": 1, "count": 2})
    assert properties.headers(block) == {"\udcff": 1, "count": 2}


def test_what_is_too_long_or_has_no_type_is_refused() -> None:
    with pytest.raises(exceptions.ShortStringTooLong):
        properties.encode_properties(message_id="é" * 128)
    with pytest.raises(exceptions.ShortStringTooLong):
        properties.encode_properties(reply_to="x" * 256)
    with pytest.raises(exceptions.UnsupportedAMQPFieldException):
        properties.encode_properties(headers={"a": object()})
    with pytest.raises(ValueError, match="256"):
        properties.encode_properties(priority=256)
