"""What is measured adds up, and what callers send as trace context is taken only if it is valid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from runtime.exposition import Exposition
from runtime.model import Depth, Invocation, Message, Payload, ReplicaCounts, Status
from runtime.telemetry import (
    BUCKETS,
    Gauges,
    Metrics,
    child_traceparent,
    percentiles,
)

KEY = ("f", "cpu")
SECONDS = st.floats(0, 1000, allow_nan=False)


def finished(run: float, status: Status = Status.SUCCEEDED) -> Invocation:
    message = Message("0" * 32, "f", "cpu", Payload(), 100.0)
    timings = {"queue": 0.0, "start": 0.0, "run": run}
    return Invocation(message, "auto", "v", status, 100.0, 100.0 + run, timings)


def families(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name and label values, in the order of the labels' names: device first."""
    body, _ = Exposition(metrics).text("text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            values = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[values] = sample.value
    return found


@given(st.lists(SECONDS, min_size=1))
def test_percentiles_always_are_values_that_were_seen_and_rise(seconds: list[float]) -> None:
    found = percentiles(seconds)
    assert found["p50"] <= found["p95"] <= found["p99"]
    assert set(found.values()) <= set(seconds)


def test_percentiles_of_a_hundred_values_are_where_they_belong() -> None:
    assert percentiles(map(float, range(100))) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


@given(st.lists(SECONDS))
def test_a_histogram_counts_every_run_once(runs: list[float]) -> None:
    metrics = Metrics(lambda: ())
    for run in runs:
        metrics.observe(finished(run))
    if not runs:
        return
    body, _ = Exposition(metrics).text("text/plain")
    buckets, total = [], None
    for line in body.decode().splitlines():
        if line.startswith("lumbre_phase_seconds_bucket") and 'phase="run"' in line:
            buckets.append(float(line.rpartition(" ")[2]))
        if line.startswith("lumbre_phase_seconds_sum") and 'phase="run"' in line:
            total = float(line.rpartition(" ")[2])
    assert len(buckets) == len(BUCKETS) + 1
    assert buckets == sorted(buckets)
    assert buckets[-1] == len(runs)
    assert total == pytest.approx(sum(runs))


def test_a_run_of_exactly_a_bound_falls_into_its_bucket() -> None:
    """Prometheus buckets are cumulative and hold what is less than or equal to `le`."""
    metrics = Metrics(lambda: ())
    metrics.observe(finished(0.01))
    body, _ = Exposition(metrics).text("text/plain")
    lines = [li for li in body.decode().splitlines() if 'le="0.01"' in li and 'phase="run"' in li]
    assert lines[0].endswith(" 1.0")


def test_statuses_are_counted_apart_and_only_successes_make_latencies() -> None:
    metrics = Metrics(lambda: ())
    metrics.observe(finished(1.0))
    metrics.observe(finished(9.0, Status.FAILED))
    counted = families(metrics)["lumbre_invocations_total"]
    assert counted == {("cpu", "f", "succeeded"): 1.0, ("cpu", "f", "failed"): 1.0}
    latency = metrics.latency(("f", "cpu"))
    assert latency is not None
    assert (latency["n"], latency["run"]["p99"]) == (1, 1.0)


def test_gauges_are_read_when_they_are_asked_for() -> None:
    depth, replicas = Depth(3, 2, 1), ReplicaCounts(1, 2, 3, 4)
    metrics = Metrics(lambda: [Gauges("f", "gpu", depth, replicas, 7, {"up": 5, "down": 6})])
    found = families(metrics)
    assert found["lumbre_backlog"][("gpu", "f", "unacknowledged")] == 2
    assert found["lumbre_replicas"][("gpu", "f", "draining")] == 4
    assert found["lumbre_cold_starts_total"][("gpu", "f")] == 7
    assert found["lumbre_scaling_decisions_total"][("gpu", "down", "f")] == 6


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    metrics = Metrics(lambda: ())
    metrics.observe(finished(1.0))
    body, content_type = Exposition(metrics).text("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


HEX = st.text("0123456789abcdef", min_size=1)


@given(
    st.integers(1, 2**128 - 1).map("{:032x}".format),
    st.integers(1, 2**64 - 1).map("{:016x}".format),
    st.integers(0, 255).map("{:02x}".format),
)
def test_a_valid_traceparent_always_keeps_its_trace_and_flags(
    trace: str, parent: str, flags: str
) -> None:
    child = child_traceparent(f"00-{trace}-{parent}-{flags}")
    assert child is not None
    version, own_trace, own_parent, own_flags = child.split("-")
    assert (version, own_trace, own_flags) == ("00", trace, flags)
    assert own_parent != parent


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{'1' * 32}-{'1' * 16}-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-01-more",
        f"00-{'1' * 31}-{'1' * 16}-01",
        f"00-{'G' * 32}-{'1' * 16}-01",
    ],
)
def test_an_invalid_traceparent_is_never_taken(header: str) -> None:
    assert child_traceparent(header) is None


def test_a_traceparent_of_a_later_version_is_taken_as_far_as_it_is_known() -> None:
    """W3C Trace Context §3.2.2: parse what version 00 has, and answer as version 00."""
    child = child_traceparent(f"01-{'1' * 32}-{'2' * 16}-00-future")
    assert child is not None
    assert child.startswith(f"00-{'1' * 32}-")
