"""Lines of JSON out of pieces of any length."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import TooLarge
from runtime.ndjson import Line, Splitter

bodies = st.lists(st.sampled_from([b"\n", b"\r\n", b"{}", b" ", b'{"a": "b"}', b"\xe2\x80\xa8"]))


def split(body: bytes, cuts: list[int], limit: int = 1000) -> list[Line]:
    splitter = Splitter(limit)
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(places)]
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.end()


@given(bodies.map(b"".join), st.lists(st.integers(0, 1000)))
def test_the_lines_are_those_of_the_body_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    numbered = enumerate(body.split(b"\n"), 1)
    assert split(body, cuts) == [(n, line.strip()) for n, line in numbered if line.strip()]


@given(st.integers(0, 40), st.lists(st.integers(0, 100)), st.booleans())
def test_a_line_is_refused_by_its_number_exactly_if_it_is_over_the_limit(
    length: int, cuts: list[int], ended: bool
) -> None:
    body = b"{}\n\n" + b"x" * length + (b"\n" if ended else b"")
    if length <= 20:
        split(body, cuts, limit=20)
        return
    with pytest.raises(TooLarge, match="line 3 has more than 20 bytes"):
        split(body, cuts, limit=20)


def test_a_line_that_never_ends_is_refused_before_its_end_comes() -> None:
    splitter = Splitter(limit=10)
    splitter.feed(b"x" * 10)
    with pytest.raises(TooLarge):
        splitter.feed(b"x")
