"""That arrivals come when the shape of a stage says, whatever the seed."""

import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.arrivals import arrivals, replayed, times
from loadtest.mix import Mix
from loadtest.plan import (
    Burst,
    Constant,
    OpenStage,
    Poisson,
    Ramp,
    Replay,
    Share,
    Step,
)
from loadtest.request import of_parameters
from loadtest.trace import Entry, Trace
from runtime.errors import ConfigurationError

HERE = Path()


def due(stage: Constant | Poisson | Step | Ramp | Burst, seed: int = 1) -> list[float]:
    return list(times(stage, random.Random(seed)))


def ramp(begin: float, end: float, seconds: float, *, poisson: bool = False) -> Ramp:
    given = {"from": begin, "to": end, "seconds": seconds, "poisson": poisson}
    return Ramp.model_validate(given)


def a_mix(seed: int = 1) -> Mix:
    shares = [
        {"function": "f", "parameters": {"n": {"uniform": [1, 1000]}}},
        {"function": "g"},
    ]
    return Mix([Share.model_validate(s) for s in shares], random.Random(seed), HERE)


def kolmogorov(sample: Sequence[float], chance_below: Callable[[float], float]) -> float:
    """The largest distance between a sample's distribution and the one it should have, over the
    distance that chance exceeds once in a thousand times (Kolmogorov's asymptotic distribution,
    its first term: 2·exp(−2·n·d²))."""
    n = len(sample)
    places = [chance_below(x) for x in sorted(sample)]
    distance = max(max((k + 1) / n - p, p - k / n) for k, p in enumerate(places))
    return distance / math.sqrt(-math.log(0.001 / 2) / (2 * n))


def gaps(at: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise([0.0, *at])]


# ── always ────────────────────────────────────────────────────────────────────────────────────

rates = st.floats(0, 500)
lengths = st.floats(0.001, 5)
shaped = st.one_of(
    st.builds(Constant, rate=st.floats(0.001, 500), seconds=lengths),
    st.builds(Poisson, rate=st.floats(0.001, 500), seconds=lengths),
    st.builds(
        Step,
        rates=st.lists(rates, min_size=1, max_size=5).filter(any),
        each=st.floats(0.001, 1),
        poisson=st.booleans(),
    ),
    st.builds(ramp, rates, rates.filter(bool), lengths, poisson=st.booleans()),
    st.builds(ramp, rates.filter(bool), rates, lengths, poisson=st.booleans()),
    st.builds(Burst, size=st.integers(1, 50), every=st.floats(0.1, 5), seconds=lengths, rate=rates),
)
seeds = st.integers(0, 2**32)


@given(stage=shaped, seed=seeds)
def test_times_never_decrease_and_always_lie_in_the_stage(stage: Any, seed: int) -> None:
    at = due(stage, seed)
    assert all(0 <= t < stage.length for t in at)
    assert all(earlier <= later for earlier, later in itertools.pairwise(at))


@given(stage=shaped, seed=seeds)
def test_the_same_seeds_always_give_the_same_sequence(stage: OpenStage, seed: int) -> None:
    one, other = (list(arrivals(stage, a_mix(seed), random.Random(seed), HERE)) for _ in range(2))
    assert one == other


@given(stage=shaped)
def test_an_even_stage_always_has_as_many_requests_as_the_integral_of_its_rate(stage: Any) -> None:
    if isinstance(stage, Poisson) or getattr(stage, "poisson", False):
        return
    match stage:
        case Constant():
            expected = stage.rate * stage.seconds
        case Step():
            expected = sum(rate * stage.each for rate in stage.rates)
        case Ramp():
            expected = (stage.begin + stage.end) / 2 * stage.seconds
        case _:
            bursts = math.ceil(stage.seconds / stage.every)
            assert abs(len(due(stage)) - bursts * stage.size - stage.rate * stage.seconds) <= 1
            return
    assert math.ceil(expected - 1e-6) <= len(due(stage)) <= math.ceil(expected + 1e-6)


def test_other_seeds_give_other_times() -> None:
    stage = Poisson(rate=10, seconds=10)
    assert due(stage, 1) != due(stage, 2)


def test_arrivals_are_made_as_they_are_asked_for() -> None:
    stage = Poisson(rate=100_000, seconds=86_400)  # 8.64 · 10⁹ requests
    first = list(itertools.islice(arrivals(stage, a_mix(), random.Random(1), HERE), 100))
    assert len(first) == 100 and first[-1].at < 0.01


def test_a_stage_that_needs_a_mix_says_so() -> None:
    with pytest.raises(ConfigurationError, match="no mix to send"):
        arrivals(Constant(rate=1, seconds=1), None, random.Random(1), HERE)


# ── even ──────────────────────────────────────────────────────────────────────────────────────


def test_a_constant_rate_is_exact() -> None:
    assert due(Constant(rate=4, seconds=1.5)) == [0, 0.25, 0.5, 0.75, 1, 1.25]


@pytest.mark.parametrize(("rate", "seconds"), [(1.1, 10), (0.7, 10), (3, 0.1), (2.3, 100)])
def test_rounding_adds_no_request(rate: float, seconds: float) -> None:
    assert len(due(Constant(rate=rate, seconds=seconds))) == math.ceil(round(rate * seconds, 6))


def test_a_constant_rate_does_not_drift() -> None:
    at = due(Constant(rate=3, seconds=20_000))
    assert len(at) == 60_000
    assert max(abs(t - k / 3) for k, t in enumerate(at)) < 1e-8


def test_a_rate_below_one_request_in_the_stage_still_sends_one() -> None:
    assert due(Constant(rate=0.01, seconds=5)) == [0]


def test_steps_join_without_a_gap() -> None:
    at = due(Step(rates=(2, 4, 1), each=1))
    assert at == [0, 0.5, 1, 1.25, 1.5, 1.75, 2]


def test_what_one_step_leaves_of_a_request_the_next_step_goes_on_with() -> None:
    # 1.5 requests are due in the first step: the one at its end waits half a request of the next.
    assert due(Step(rates=(1.5, 1), each=1)) == pytest.approx([0, 2 / 3, 1.5])


def test_a_step_of_zero_is_a_pause() -> None:
    assert due(Step(rates=(2, 0, 2), each=1)) == [0, 0.5, 2, 2.5]


def test_a_ramp_sends_where_the_integral_of_its_rate_is_whole() -> None:
    stage = ramp(2, 10, 4)  # the integral is 2t + t²
    at = due(stage)
    assert len(at) == 24
    assert [2 * t + t * t for t in at] == pytest.approx(range(24))


def test_a_falling_ramp_is_a_rising_one_turned_around() -> None:
    up, down = due(ramp(0, 10, 10)), due(ramp(10, 0, 10))
    assert len(up) == len(down) == 50
    assert down[1:] == pytest.approx([10 - t for t in reversed(up[1:])])


@pytest.mark.parametrize("end", [10.0, 10.0 + 1e-12, 10.0 - 1e-12])
def test_a_ramp_that_hardly_rises_is_a_constant_rate(end: float) -> None:
    assert due(ramp(10, end, 5)) == pytest.approx(due(Constant(rate=10, seconds=5)), abs=1e-9)


def test_a_burst_is_all_at_once_over_an_even_background() -> None:
    at = due(Burst(size=3, every=2, seconds=5, rate=1))
    assert at == [0, 0, 0, 0, 1, 2, 2, 2, 2, 3, 4, 4, 4, 4]
    assert due(Burst(size=2, every=2, seconds=4)) == [0, 0, 2, 2]


# ── by chance ─────────────────────────────────────────────────────────────────────────────────


def test_gaps_of_a_poisson_process_are_exponential() -> None:
    found = gaps(due(Poisson(rate=40, seconds=250)))
    assert kolmogorov(found, lambda gap: 1 - math.exp(-40 * gap)) < 1


def test_gaps_of_a_poisson_process_do_not_depend_on_the_one_before() -> None:
    found = gaps(due(Poisson(rate=40, seconds=250)))
    # Of independent values the correlation is normal about 0, with variance 1/n (Bartlett).
    assert abs(statistics.correlation(found[:-1], found[1:])) < 4 / math.sqrt(len(found))


def test_counts_of_a_poisson_process_have_one_mean_and_variance() -> None:
    rate, seconds = 20.0, 2000
    counts = [0] * seconds
    for at in due(Poisson(rate=rate, seconds=seconds)):
        counts[int(at)] += 1
    assert abs(statistics.mean(counts) - rate) < 4 * math.sqrt(rate / seconds)
    # (n − 1) · variance / mean is χ² with n − 1 degrees of freedom, near normal for many of them.
    dispersion = statistics.variance(counts) / statistics.mean(counts)
    assert abs(dispersion - 1) < 4 * math.sqrt(2 / (seconds - 1))


@pytest.mark.parametrize("stage", [ramp(5, 95, 100, poisson=True), ramp(80, 0, 100, poisson=True)])
def test_a_poisson_ramp_runs_at_its_rate_at_every_time(stage: Ramp) -> None:
    """Its integral at the times of arrival is a Poisson process of rate 1 (time change)."""
    slope = (stage.end - stage.begin) / stage.seconds
    reached = [stage.begin * t + slope * t * t / 2 for t in due(stage)]
    total = (stage.begin + stage.end) / 2 * stage.seconds
    assert abs(len(reached) - total) < 4 * math.sqrt(total)
    assert kolmogorov(gaps(reached), lambda gap: 1 - math.exp(-gap)) < 1
    assert kolmogorov(reached, lambda count: count / total) < 1  # uniform, given how many


def test_poisson_steps_have_their_rates_and_a_pause_has_none() -> None:
    at = due(Step(rates=(100, 0, 400), each=20, poisson=True))
    found = [sum(start <= t < start + 20 for t in at) for start in (0, 20, 40)]
    assert found[1] == 0
    for count, expected in ((found[0], 2000), (found[2], 8000)):
        assert abs(count - expected) < 4 * math.sqrt(expected)


# ── recorded ──────────────────────────────────────────────────────────────────────────────────

TRACE = Trace(
    tuple(Entry(at, of_parameters("f", "cpu", {"n": n})) for n, at in enumerate((0, 1, 1, 4))), 0
)


def test_a_replay_sends_what_was_recorded_when_it_was() -> None:
    found = list(replayed(Replay(trace="t"), TRACE))
    assert [arrival.at for arrival in found] == [0, 1, 1, 4]
    assert [arrival.request for arrival in found] == [entry.request for entry in TRACE.entries]


def test_a_replay_may_be_faster_and_cut() -> None:
    assert [a.at for a in replayed(Replay(trace="t", speed=2), TRACE)] == [0, 0.5, 0.5, 2]
    assert [a.at for a in replayed(Replay(trace="t", speed=0.5, seconds=8), TRACE)] == [0, 2, 2]


def test_a_replay_of_more_than_a_day_must_be_cut() -> None:
    long = Trace((*TRACE.entries, Entry(200_000, TRACE.entries[0].request)), 0)
    with pytest.raises(ConfigurationError, match=r"lasts 200,000 s at speed 1.*raise speed"):
        replayed(Replay(trace="t"), long)
    assert len(list(replayed(Replay(trace="t", speed=4), long))) == 5
    assert len(list(replayed(Replay(trace="t", seconds=60), long))) == 4


def test_a_trace_is_read_at_the_call_from_beside_the_plan(tmp_path: Path) -> None:
    lines = [{"at": at, "function": "f", "parameters": {"n": at}} for at in (3, 5)]
    (tmp_path / "t.ndjson").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    found = arrivals(Replay(trace="t.ndjson"), None, random.Random(1), tmp_path)
    assert [(a.at, a.request.body) for a in found] == [(0, b'{"n":3}'), (2, b'{"n":5}')]
    with pytest.raises(ConfigurationError, match=r"none\.ndjson: cannot be read"):
        arrivals(Replay(trace="none.ndjson"), None, random.Random(1), tmp_path)
