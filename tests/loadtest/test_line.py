"""Texts from outside on one line."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.line import line, short


@given(st.text())
def test_a_line_never_breaks_and_never_steers_a_terminal(text: str) -> None:
    assert line(text).isprintable()
    assert len(short(text)) <= 28


def test_a_text_that_is_too_long_is_cut_where_the_room_ends() -> None:
    assert short("a b\n c", 5) == "a b c"
    assert short("a b\n cd", 5) == "a b …"
