"""That what is drawn is distributed as the plan says, and is the same for the same seed."""

import collections
import math
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import mix
from loadtest.mix import Mix
from loadtest.plan import Share
from loadtest.request import Request
from runtime.errors import ConfigurationError

HERE = Path()
DRAWS = 20_000
SIGMAS = 4.0  # how far a share may be from what it should be; seeds are fixed


def drawn(count: int, *shares: dict[str, Any], seed: int = 1, folder: Path = HERE) -> list[Request]:
    """The first requests of a mix."""
    source = Mix([Share.model_validate(s) for s in shares], random.Random(seed), folder)
    return [source.next() for _ in range(count)]


def values(parameter: Any, count: int = DRAWS, seed: int = 1) -> list[Any]:
    """What is sent for a parameter."""
    share = {"function": "f", "parameters": {"x": parameter}}
    return [orjson.loads(request.body)["x"] for request in drawn(count, share, seed=seed)]


def assert_share(found: int, expected: float, of: int = DRAWS) -> None:
    """A count is binomial: within so many standard deviations of its mean."""
    assert abs(found - of * expected) <= SIGMAS * math.sqrt(of * expected * (1 - expected)) + 1e-9


def largest_gap(sample: list[float], low: float, high: float) -> float:
    """Kolmogorov and Smirnov's distance between a sample and the uniform distribution."""
    n = len(sample)
    places = [(x - low) / (high - low) for x in sorted(sample)]
    return max(max((k + 1) / n - p, p - k / n) for k, p in enumerate(places))


def kolmogorov_bound(n: int, chance: float = 1e-3) -> float:
    """What that distance exceeds by chance (the asymptotic distribution's first term)."""
    return math.sqrt(-math.log(chance / 2) / (2 * n))


# ── which share ───────────────────────────────────────────────────────────────────────────────


def test_shares_come_as_often_as_their_weights_say() -> None:
    shares = [{"function": name, "weight": w} for name, w in [("a", 1), ("b", 2.5), ("c", 6.5)]]
    found = collections.Counter(request.function for request in drawn(DRAWS, *shares))
    for share in shares:
        assert_share(found[str(share["function"])], float(str(share["weight"])) / 10)


MIXED = (
    {"function": "a", "parameters": {"x": {"uniform": [0, 9]}, "y": {"choice": ["p", "q"]}}},
    {"function": "b", "device": {"choice": ["cpu", "gpu"]}, "parameters": {"z": 1}},
    {"function": "c", "weight": 2, "parameters": {"x": {"log_uniform": [0.1, 10]}}},
)


@given(seed=st.integers(0, 2**63))
def test_the_same_seed_always_gives_the_same_sequence(seed: int) -> None:
    assert drawn(50, *MIXED, seed=seed) == drawn(50, *MIXED, seed=seed)


def test_another_seed_gives_another_sequence() -> None:
    assert drawn(50, *MIXED, seed=1) != drawn(50, *MIXED, seed=2)


def test_a_mix_without_shares_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the mix is empty"):
        Mix([], random.Random(1), HERE)


# ── what is drawn ─────────────────────────────────────────────────────────────────────────────


def test_a_literal_is_sent_as_it_stands_and_parameters_keep_their_order() -> None:
    given = {"b": {"choice": [2]}, "a": [1, {"x": None}], "c": {"choice": [{"choice": "me"}]}}
    (request,) = drawn(1, {"function": "f", "parameters": given})
    assert request.body == b'{"b":2,"a":[1,{"x":null}],"c":{"choice":"me"}}'


def test_choices_are_equally_likely() -> None:
    found = collections.Counter(map(repr, values({"choice": [1, "one", None, [2]]})))
    assert set(found) == {"1", "'one'", "None", "[2]"}
    for count in found.values():
        assert_share(count, 0.25)


def test_choices_come_as_often_as_their_weights_say() -> None:
    found = collections.Counter(values({"choice": [64, 128, 256], "weights": [6, 0, 2]}))
    assert set(found) == {64, 256}
    assert_share(found[64], 0.75)


def test_a_device_may_be_a_choice() -> None:
    share = {"function": "f", "device": {"choice": ["auto", "gpu"], "weights": [1, 3]}}
    requests = drawn(DRAWS, share)
    assert {(r.device, r.target) for r in requests} == {
        ("auto", "/invoke/f"),
        ("gpu", "/invoke/f?device=gpu"),
    }
    assert_share(sum(r.device == "gpu" for r in requests), 0.75)


def test_no_device_is_the_nodes_choice() -> None:
    (request,) = drawn(1, {"function": "f", "device": None})
    assert (request.device, request.target) == ("auto", "/invoke/f")


def test_whole_numbers_between_two_are_equally_likely_and_both_ends_are_among_them() -> None:
    found = collections.Counter(values({"uniform": [-2, 7]}))
    assert set(found) == set(range(-2, 8))
    for count in found.values():
        assert_share(count, 0.1)


def test_numbers_between_two_are_uniform() -> None:
    sample = values({"uniform": [0.5, 2]})
    assert all(isinstance(x, float) and 0.5 <= x <= 2 for x in sample)
    assert largest_gap(sample, 0.5, 2) < kolmogorov_bound(len(sample))


def test_logarithms_of_log_uniform_numbers_are_uniform() -> None:
    sample = values({"log_uniform": [0.01, 100.0]})
    assert all(0.01 <= x <= 100 for x in sample)
    logs = [math.log(x) for x in sample]
    assert largest_gap(logs, math.log(0.01), math.log(100)) < kolmogorov_bound(len(sample))


def test_log_uniform_integers_have_the_chance_of_their_part_of_the_logarithm() -> None:
    found = collections.Counter(values({"log_uniform": [1, 20]}))
    assert set(found) == set(range(1, 21))
    for k, count in found.items():
        assert_share(count, math.log((k + 1) / k) / math.log(21))


@given(
    ends=st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)),
    kind=st.sampled_from(["uniform", "log_uniform"]),
    seed=st.integers(0, 99),
)
def test_a_number_never_leaves_its_ends(ends: tuple[int, int], kind: str, seed: int) -> None:
    low, high = ends[0], ends[0] + ends[1]
    assert all(low <= x <= high for x in values({kind: [low, high]}, count=20, seed=seed))


# ── how it is sent ────────────────────────────────────────────────────────────────────────────


def test_requests_that_were_drawn_before_are_the_same_objects() -> None:
    share = {"function": "f", "parameters": {"n": {"choice": [1, 2, 3]}, "k": {"uniform": [0, 1]}}}
    assert len({id(request) for request in drawn(500, share)}) == 6


def test_what_is_kept_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    share = {"function": "f", "parameters": {"x": {"uniform": [0, 50]}}}
    before = drawn(500, share)
    monkeypatch.setattr(mix, "KEPT", 3)
    after = drawn(500, share)
    assert after == before
    assert len({id(request) for request in after}) > len({id(request) for request in before}) == 51


def test_values_that_are_alike_to_python_are_not_mixed_up() -> None:
    assert {repr(x) for x in values({"choice": [1, True, 1.0]}, count=200)} == {"1", "True", "1.0"}


def test_who_does_not_wait_prefers_so() -> None:
    (request,) = drawn(1, {"function": "f", "wait": False})
    assert not request.wait


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(b"meow")
    (tmp_path / "rows.csv").write_bytes(b"1,2")
    return tmp_path


def test_a_raw_body_goes_with_its_parameters_in_the_query(folder: Path) -> None:
    share = {
        "function": "image_filter",
        "device": "cpu",
        "body": "cat.png",
        "parameters": {"filter": "sobel", "sigma": {"choice": [1.5]}, "kernel": [[1]]},
    }
    (request,) = drawn(1, share, folder=folder)
    assert (request.content_type, request.body) == ("image/png", b"meow")
    assert request.target == (
        "/invoke/image_filter?filter=sobel&sigma=1.5&kernel=%5B%5B1%5D%5D&device=cpu"
    )


def test_files_go_as_a_form(folder: Path) -> None:
    share = {"function": "f", "file": {"a": "cat.png", "b": "rows.csv"}, "parameters": {"n": 1}}
    (request,) = drawn(1, share, folder=folder)
    assert str(request.content_type).startswith("multipart/form-data; boundary=")
    assert b'name="a"; filename="cat.png"\r\nContent-Type: image/png\r\n\r\nmeow' in request.body
    assert b'name="n"\r\n\r\n1\r\n' in request.body


@pytest.mark.parametrize("share", [{"body": "none.png"}, {"file": {"a": "none.png"}}])
def test_a_file_that_is_not_there_is_told_before_the_load_begins(
    folder: Path, share: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        drawn(1, {"function": "f", **share}, folder=folder)
    assert str(caught.value) == (
        f"{folder}/none.png: cannot be read (No such file or directory), and the mix sends it to f:"
        " name a file that is there, relative to the plan"
    )


def test_a_file_that_is_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mix, "MAX_FILE", 3)
    with pytest.raises(ConfigurationError, match=r"cat\.png: is over 3 bytes"):
        drawn(1, {"function": "f", "body": "cat.png"}, folder=folder)
