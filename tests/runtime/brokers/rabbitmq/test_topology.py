from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.brokers import QueueSpec
from runtime.brokers.rabbitmq.topology import (
    STEPS,
    Binding,
    Exchange,
    Part,
    Queue,
    dead_queue,
    function_of,
    queue_parts,
    shared_parts,
    step_for,
)


def arguments(parts: list[Part]) -> dict[str, dict[str, Any]]:
    return {part.name: dict(part.arguments) for part in parts if isinstance(part, Queue)}


def test_a_functions_queue_gives_up_to_its_dead_letters_and_to_results() -> None:
    parts = queue_parts(QueueSpec("matmul.gpu"))
    assert arguments(parts)["matmul.gpu"] == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 30,
        "x-dead-letter-exchange": "lumbre.dead",
        "x-dead-letter-routing-key": "matmul.gpu",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    assert {part.queue for part in parts if isinstance(part, Binding)} == {
        "matmul.dead",
        "results",
    }


def test_a_queue_of_no_device_tells_results_nothing() -> None:
    parts = queue_parts(QueueSpec("callbacks", delivery_limit=1_000_000))
    bindings = [part for part in parts if isinstance(part, Binding)]
    assert bindings == [Binding("callbacks.dead", "lumbre.dead", "callbacks")]


@given(limit=st.integers(0, 2_000_000))
def test_the_server_always_gives_up_after_the_worker(limit: int) -> None:
    given_up = arguments(queue_parts(QueueSpec("f.cpu", limit)))["f.cpu"]["x-delivery-limit"]
    assert given_up >= min(limit + 10, 1_000_000)


def test_both_devices_and_any_usual_limit_declare_the_same() -> None:
    limits = [3, 5, 20]
    declared = [arguments(queue_parts(QueueSpec("f.cpu", limit))) for limit in limits]
    assert declared[0] == declared[1] == declared[2]
    gpu = arguments(queue_parts(QueueSpec("f.gpu")))
    assert gpu["f.dead"] == declared[0]["f.dead"]


def test_no_queue_that_keeps_anything_has_a_limit_that_may_be_reached() -> None:
    shared = arguments(shared_parts())
    assert shared["results"]["x-delivery-limit"] == 1_000_000
    assert arguments(queue_parts(QueueSpec("f.cpu")))["f.dead"]["x-delivery-limit"] == 1_000_000


def test_every_delay_queue_has_one_time_to_live_and_loses_nothing() -> None:
    shared = arguments(shared_parts())
    for seconds, name in STEPS.items():
        assert shared[name] == {
            "x-queue-type": "quorum",
            "x-message-ttl": seconds * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        assert Exchange(name, "fanout") in shared_parts()
        assert Binding(name, name) in shared_parts()


def test_cancellations_are_a_stream_of_a_week() -> None:
    stream = arguments(shared_parts())["cancellations"]
    assert (stream["x-queue-type"], stream["x-max-age"]) == ("stream", "604800s")


def test_what_is_bound_is_declared_before() -> None:
    seen: set[str] = set()
    for part in [*shared_parts(), *queue_parts(QueueSpec("f.cpu"))]:
        if isinstance(part, Binding):
            assert {part.queue, part.exchange} <= seen
        else:
            seen.add(part.name)


@given(delay=st.floats(0.001, 300))
def test_a_delay_is_never_cut_short(delay: float) -> None:
    seconds = {name: step for step, name in STEPS.items()}[step_for(delay)]
    assert seconds >= delay
    assert all(shorter < delay for shorter in STEPS if shorter < seconds)


def test_a_delay_over_the_longest_step_takes_that() -> None:
    assert step_for(3600) == "retry.5m"


@pytest.mark.parametrize(
    ("queue", "function"),
    [("matmul.gpu", "matmul"), ("a.b.cpu", "a.b"), ("callbacks", "callbacks")],
)
def test_a_queue_is_of_a_function(queue: str, function: str) -> None:
    assert function_of(queue) == function
    assert dead_queue(queue) == f"{function}.dead"
