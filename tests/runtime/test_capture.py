"""Captured output keeps its beginning and its end, whatever its length."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import capture
from runtime.capture import Capture

chunks = st.lists(st.binary(max_size=25).map(lambda b: b.replace(b"\xff", b"f")), max_size=12)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "HEAD", 20)
    monkeypatch.setattr(capture, "TAIL", 10)


def captured(chunks: list[bytes]) -> Capture:
    capture = Capture()
    for chunk in chunks:
        capture.add(chunk)
    return capture


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks)
def test_what_is_short_is_kept_whole(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)[:30]
    assert captured([whole]).text() == whole.decode(errors="replace")
    assert captured([bytes([b]) for b in whole]).text() == whole.decode(errors="replace")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks.map(lambda c: [b"x" * 31, *c]))
def test_of_what_is_long_the_first_and_the_last_bytes_are_kept(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    between = f"\n[… {len(whole) - 30:,} bytes left out …]\n".encode()
    expected = (whole[:20] + between + whole[-10:]).decode(errors="replace")
    assert captured(chunks).text() == expected
    assert captured(chunks).written == len(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks, st.integers(1, 10))
def test_the_last_bytes_are_the_last_that_were_written(chunks: list[bytes], size: int) -> None:
    whole = b"".join(chunks)
    assert captured(chunks).last(size) == whole[-size:].decode(errors="replace")


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert captured([b"a\xff\xc3", b"\xa9"]).text() == "a\ufffdé"
