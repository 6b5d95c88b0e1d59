"""Each waits longer than what it waits for; who cannot is refused."""

from hypothesis import given
from hypothesis import strategies as st

from deploy.ladder import ladder, ladder_faults
from deploy.values import Values
from tests.specs import made_up


def values(consumer: float, kind: str = "pod") -> Values:
    return Values.model_validate({"broker": {"consumer_timeout": consumer, "kind": kind}})


def test_the_rungs_of_a_minute() -> None:
    steps = ladder(made_up(timeout=59.2))
    assert (steps.grace, steps.termination, steps.consumer) == (65, 80, 140)
    assert not steps.job
    assert steps.evictable


@given(st.floats(0.001, 1e6))
def test_each_rung_is_always_above_the_one_below(timeout: float) -> None:
    steps = ladder(made_up(timeout=timeout))
    assert timeout < steps.grace < steps.termination < steps.consumer


def test_functions_above_a_quarter_of_an_hour_get_a_pod_per_message() -> None:
    assert not ladder(made_up(timeout=900)).job
    assert ladder(made_up(timeout=900.5)).job
    assert ladder(made_up(timeout=580)).evictable
    assert not ladder(made_up(timeout=581)).evictable  # 601 s: the cluster autoscaler gives 600


@given(st.floats(0.001, 1e5), st.floats(60, 1e5))
def test_a_delivery_is_never_taken_back_from_a_worker_that_drains(
    timeout: float, consumer: float
) -> None:
    spec = made_up(timeout=timeout)
    refused = list(ladder_faults([spec], values(consumer)))
    assert bool(refused) == (ladder(spec).termination + 60 > consumer)


def test_a_refusal_names_both_ends_and_what_to_change() -> None:
    (refused,) = ladder_faults([made_up("train", timeout=1800)], values(1800))
    assert refused == (
        "function train: it may run for 1800 s (its timeout), and its pods may drain for 1820 s,"
        " but RabbitMQ takes back what is not acknowledged within broker.consumer_timeout=1800 s:"
        " lower its timeout to 1720 s, or set broker.consumer_timeout to at least 1880"
    )
    assert not list(ladder_faults([made_up(timeout=1720)], values(1800)))
    assert not list(ladder_faults([made_up(timeout=1800)], values(1880)))
    (elsewhere,) = ladder_faults([made_up(timeout=1800)], values(1800, "external"))
    assert elsewhere.endswith("once that RabbitMQ has consumer_timeout = 1880000 (milliseconds)")
    (short,) = ladder_faults([made_up(timeout=1)], values(60))
    assert "lower its timeout" not in short  # there is none that is low enough
