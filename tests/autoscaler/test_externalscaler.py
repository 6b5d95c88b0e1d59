"""The wire of KEDA's external scaler: bytes by hand, and back again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.externalscaler import (
    FIELDS,
    MESSAGES,
    ScaledObjectRef,
    activity,
    metric_spec,
    metric_value,
    read_metrics_request,
    read_reference,
)
from runtime.errors import BadRequest

# By hand: a tag is number << 3 | wire type; a varint, 8 bytes, or a length and bytes follow.
REFERENCE = (
    b"\x0a\x0amatmul-gpu"  # 1 name
    b"\x12\x06lumbre"  # 2 namespace
    b"\x1a\x17\x0a\x09queueName\x12\x0amatmul.gpu"  # 3 an entry of scalerMetadata
    b"\x1a\x0a\x0a\x05value\x12\x012"
)
READ = ScaledObjectRef("matmul-gpu", "lumbre", {"queueName": "matmul.gpu", "value": "2"})


def test_a_reference_is_read_from_kedas_bytes() -> None:
    assert read_reference(REFERENCE) == READ
    assert read_reference(b"") == ScaledObjectRef("", "", {})


def test_a_request_for_metrics_is_read_from_kedas_bytes() -> None:
    request = b"\x0a" + bytes([len(REFERENCE)]) + REFERENCE + b"\x12\x11lumbre-matmul-gpu"
    assert read_metrics_request(request) == READ


def test_fields_that_a_later_protocol_adds_are_passed_over() -> None:
    assert read_reference(REFERENCE + b"\xa2\x06\x03new\xa8\x06\x01") == READ


def test_answers_are_the_bytes_that_keda_reads() -> None:
    assert activity(True) == b"\x08\x01"
    assert activity(False) == b""  # false is not sent (proto3)
    assert metric_spec("q", 2.5) == (
        b"\x0a\x0e\x0a\x01q\x10\x03\x19\x00\x00\x00\x00\x00\x00\x04\x40"  # 2.5 as int64 is 3
    )
    assert metric_value("q", 300) == (
        b"\x0a\x0f\x0a\x01q\x10\xac\x02\x19\x00\x00\x00\x00\x00\xc0\x72\x40"
    )
    assert metric_value("q", 0) == b"\x0a\x03\x0a\x01q"


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff"], ids=repr)
def test_other_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(BadRequest, match=f"{len(data)} bytes are no ScaledObjectRef of KEDA's"):
        read_reference(data)


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_any_reference_comes_through(name: str, space: str, metadata: dict[str, str]) -> None:
    made = MESSAGES["ScaledObjectRef"](name=name, namespace=space, scalerMetadata=metadata)
    request = MESSAGES["GetMetricsRequest"](scaledObjectRef=made, metricName="any")
    expected = ScaledObjectRef(name, space, metadata)
    assert read_reference(made.SerializeToString()) == expected
    assert read_metrics_request(request.SerializeToString()) == expected


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_a_target_is_always_exact_as_a_float_and_never_below_it_as_a_whole(target: float) -> None:
    (spec,) = MESSAGES["GetMetricSpecResponse"].FromString(metric_spec("q", target)).metricSpecs
    assert spec.targetSizeFloat == target
    assert spec.targetSize >= min(target, 2**62)


def test_every_message_of_the_protocol_has_its_fields() -> None:
    for name, fields in FIELDS.items():
        described = MESSAGES[name].DESCRIPTOR
        assert {field.name: field.number for field in described.fields} == {
            field: number for field, (number, _) in fields.items()
        }
        assert described.full_name == f"externalscaler.{name}"
