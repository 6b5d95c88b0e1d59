"""The filters of the list of invocations, from a URL and back."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InvalidInput
from runtime.filters import NAMES, Filters
from runtime.model import Status
from runtime.search import Wanted

PROPERTY = settings(deadline=None)
NOW = 1_000_000.0


def test_what_a_form_sends_empty_filters_nothing() -> None:
    filters = Filters.of(dict.fromkeys(NAMES, " "))
    assert not filters.given
    assert filters.wanted(NOW) == Wanted()


def test_each_field_is_understood() -> None:
    query = {
        "function": "matmul",
        "status": "timed_out",
        "device": "gpu",
        "cold": "no",
        "slower": "0.5",
        "since": "1h",
        "id": " 01a2 ",
        "batch": "b",
        "older": "not a filter",
    }
    filters = Filters.of(query)
    assert filters.wanted(NOW) == Wanted(
        "matmul", Status.TIMED_OUT, "gpu", False, 0.5, NOW - 3600, "b", "01a2"
    )
    assert "older" not in filters.given


def test_an_instant_may_be_given_in_the_place_of_a_span() -> None:
    assert Filters(since="1970-01-02T00:00:00Z").wanted(NOW).since == 86_400


@pytest.mark.parametrize(
    "field, text",
    [
        ("status", "lost"),
        ("device", "tpu"),
        ("cold", "maybe"),
        ("slower", "much"),
        ("slower", "-1"),
        ("slower", "nan"),
        ("since", "yesterday"),
    ],
)
def test_what_cannot_be_understood_names_its_field(field: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=f"{field}: is '{text}'"):
        Filters.of({field: text}).wanted(NOW)


@PROPERTY
@given(st.dictionaries(st.sampled_from(NAMES), st.text()))
def test_a_url_always_keeps_a_view(query: dict[str, str]) -> None:
    filters = Filters.of(query)
    kept = urlencode(filters.given)
    assert Filters.of(dict(parse_qsl(kept, keep_blank_values=True))) == filters
