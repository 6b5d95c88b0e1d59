"""The page of all queues."""

from types import SimpleNamespace

import pytest

from console.depths import dead_by_function, depth_of
from console.queues import ON_A_PAGE, Queues, page_of
from runtime.model import Depth, PoolState, ReplicaCounts
from tests.console.stage import LONG, PARTIAL, Stage, shown, spec


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.show(spec("matmul", "cpu", "gpu"), spec("resting"), spec(LONG))
    stage.depths = {"matmul.cpu": Depth(5, 2, 1), "matmul.gpu": Depth(3, 0, 2)}
    stage.states = {
        ("matmul", "cpu"): PoolState(ReplicaCounts(busy=2), most=2),
        ("resting", "cpu"): PoolState(ReplicaCounts(), most=4),
    }
    return stage


async def test_each_queue_says_what_it_holds_and_why_it_waits(stage: Stage) -> None:
    row = SimpleNamespace(function="matmul", device="cpu", created_at=1000.0)
    stage.pending = {"a": row}
    async with shown(stage, Queues) as client:
        view = (await client.get("/queues.json")).json()
        page = (await client.get("/queues")).text
    rows = {each["queue"]: each for each in view["queues"]}
    assert rows["matmul.cpu"]["waiting"]["cause"] == "at_max"
    assert rows["matmul.gpu"]["waiting"]["cause"] == "no_gpu"
    assert rows["resting.cpu"]["waiting"] is None
    assert rows["matmul.cpu"]["oldest_at"] == 1000.0
    assert rows["matmul.gpu"]["oldest_at"] is None
    assert view["totals"] == {
        "queues": 4,
        "ready": 8,
        "unacknowledged": 2,
        "dead": 3,
        "oldest_at": 1000.0,
        "replicas": 2,
        "unserved": 1,
    }
    assert "/invocations?function=matmul&amp;device=cpu&amp;status=queued" in page
    assert "all 2 replicas that may run are busy; 5 wait" in page
    assert LONG in page


async def test_filters_are_a_part_of_a_name_and_whether_it_holds_anything(stage: Stage) -> None:
    async with shown(stage, Queues) as client:
        named = (await client.get("/queues.json?function=MAT")).json()["queues"]
        waiting = (await client.get("/queues.json?show=waiting")).json()["queues"]
        none = (await client.get("/queues?function=nothing")).text
    assert [row["queue"] for row in named] == ["matmul.cpu", "matmul.gpu"]
    assert [row["queue"] for row in waiting] == ["matmul.cpu", "matmul.gpu"]
    assert "No queue matches." in none
    assert "Clear filters" in none


async def test_a_world_without_functions_says_what_to_do() -> None:
    async with shown(Stage(), Queues) as client:
        page = (await client.get("/queues")).text
    assert "No function, no queue." in page
    assert "lumbre new hello" in page


async def test_five_hundred_functions_come_in_pages() -> None:
    stage = Stage()
    stage.show(*(spec(f"f{n:03}") for n in range(500)))
    async with shown(stage, Queues) as client:
        first = (await client.get("/queues")).text
        last = (await client.get("/queues.json?page=5")).json()
        beyond = (await client.get("/queues?page=99")).text
    assert first.count('id="queue-') == ON_A_PAGE
    assert "1 to 100 of 500 queues" in first
    assert "page=2" in first
    assert last["queues"][-1]["queue"] == "f499.cpu"
    assert "There is no page 99." in beyond


async def test_a_refresh_is_the_live_part_alone(stage: Stage) -> None:
    async with shown(stage, Queues) as client:
        answer = await client.get("/queues", headers=PARTIAL | {"HX-Target": "div#live"})
    assert "<form" not in answer.text
    assert 'id="queue-matmul.cpu"' in answer.text


async def test_a_broker_that_is_away_greys_what_was_known_last(stage: Stage) -> None:
    stage.faults = ["the broker is away"]
    async with shown(stage, Queues) as client:
        page = (await client.get("/queues")).text
    assert 'class="stale"' in page
    assert "no GPU here" not in page.partition("Why it waits")[0]
    assert "not known" in page


def test_rabbitmq_counts_the_dead_letters_of_a_function_only_once(stage: Stage) -> None:
    stage.depths["matmul.cpu"] = stage.depths["matmul.gpu"] = Depth(dead=7)
    assert dead_by_function(stage.sources()) == {"matmul": 14}
    stage.embedded = False
    assert dead_by_function(stage.sources()) == {"matmul": 7}


async def test_on_rabbitmq_a_row_counts_what_the_one_above_it_has_not(stage: Stage) -> None:
    stage.embedded = False
    stage.depths["matmul.cpu"] = stage.depths["matmul.gpu"] = Depth(dead=7)
    async with shown(stage, Queues) as client:
        view = (await client.get("/queues.json")).json()
    assert view["totals"]["dead"] == 7
    assert [row["dead"] for row in view["queues"]] == [0, 7, None, 0]


def test_what_workers_have_in_hand_is_in_flight(stage: Stage) -> None:
    pool = PoolState(ReplicaCounts(busy=1), most=1, in_hand=4)
    sources = stage.sources()
    assert depth_of(sources, "matmul", "gpu", pool) == Depth(3, 4, 2)
    assert depth_of(sources, "matmul", "cpu", None) == Depth(5, 2, 1)


@pytest.mark.parametrize(
    ("text", "number"), [(None, 1), ("3", 3), ("0", 1), ("-2", 1), ("x", 1), ("²", 1), ("9" * 9, 1)]
)
def test_a_page_that_is_none_is_the_first(text: str | None, number: int) -> None:
    assert page_of(text) == number
