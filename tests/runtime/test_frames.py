"""The wire between worker and replica: whatever the stream does, the same frames come out."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.frames import Decoder, Kind, encode

Frame = tuple[Kind, dict[str, Any], bytes]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
headers = st.dictionaries(
    st.text(max_size=8),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=8),
    max_size=4,
)
frames = st.lists(st.tuples(st.sampled_from(Kind), headers, st.binary(max_size=200)), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in order, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


def encoded(sent: list[Frame]) -> bytes:
    return b"".join(encode(kind, header, body) for kind, header, body in sent)


@given(frames, st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    sent: list[Frame], cuts: list[int]
) -> None:
    decoder = Decoder()
    received = [f for piece in pieces(encoded(sent), cuts) for f in decoder.feed(piece)]
    assert received == sent


@given(frames.filter(len), st.integers(1, 10_000))
def test_a_frame_never_comes_out_before_its_last_byte_is_in(sent: list[Frame], short: int) -> None:
    last = len(encoded(sent[-1:]))
    data = encoded(sent)[: -min(short, last)]
    assert list(Decoder().feed(data)) == sent[:-1]


def test_a_body_may_be_given_in_pieces() -> None:
    assert encode(Kind.INVOKE, {"id": "a"}, b"one", b"", b"two") == encode(
        Kind.INVOKE, {"id": "a"}, b"onetwo"
    )


def test_a_header_may_be_longer_than_64_kib() -> None:
    header = {"batch": [{"id": f"{n:032x}"} for n in range(4000)]}
    assert list(Decoder().feed(encode(Kind.INVOKE, header, b"x"))) == [(Kind.INVOKE, header, b"x")]


def test_bytes_that_are_no_frame_are_refused() -> None:
    with pytest.raises(ValueError):
        list(Decoder().feed(encode(Kind.RESULT, {}).replace(b"{}", b"{]")))
