"""The page of scaling."""

import time

import pytest

from console.scaling import ON_A_PAGE, ScalingPage, policy_rows
from runtime.function import Scaling
from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.model import Depth, Device, PoolState, ReplicaCounts
from runtime.rollup import Cell
from tests.console.stage import AWAY, HTML, PARTIAL, Stage, shown, spec


def decision(
    number: int, function: str = "matmul", device: Device = "cpu", reason: str = "because"
) -> ScalingDecision:
    return ScalingDecision(1000.0 - number, function, device, 0, 1, f"{reason} {number}", 3)


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.show(spec("matmul", "cpu", "gpu", target=2, max_replicas=4), spec("other"))
    scaled = {"up": 1, "down": 0}
    stage.states = {("matmul", "cpu"): PoolState(ReplicaCounts(busy=1), most=4, decisions=scaled)}
    stage.depths = {"matmul.cpu": Depth(ready=9, unacknowledged=1)}
    width = 5
    start = time.time() // width * width - 2 * width
    cells: list[Cell | None] = [None, Cell(ready=3), Cell(ready=9, busy=1)]
    stage.window = Window(start, width, 3, {("matmul", "cpu"): cells}, [])
    return stage


async def test_it_opens_on_what_was_scaled_last(stage: Stage) -> None:
    stage.made = [decision(0, "other"), decision(1)]
    async with shown(stage, ScalingPage) as client:
        view = (await client.get("/scaling.json")).json()
    assert (view["function"], view["device"]) == ("other", "cpu")


async def test_what_comes_next_is_told_with_its_reason(stage: Stage) -> None:
    async with shown(stage, ScalingPage) as client:
        view = (await client.get("/scaling.json?function=matmul")).json()
        page = (await client.get("/scaling?function=matmul")).text
    assert view["outlook"]["next"] == 4
    assert view["outlook"]["wanted"] == 5
    assert "Backlog 10 / target 2 → 5, held to max 4." in page
    assert 'kind="steps"' in page


async def test_every_decision_has_its_reason_and_older_ones_are_on_further_pages(
    stage: Stage,
) -> None:
    many = [decision(n, device="gpu" if n % 2 else "cpu") for n in range(4 * ON_A_PAGE)]
    stage.made = many
    async with shown(stage, ScalingPage) as client:
        first = (await client.get("/scaling.json?function=matmul&device=cpu")).json()
        second = (await client.get("/scaling.json?function=matmul&device=cpu&page=2")).json()
        page = (await client.get("/scaling?function=matmul&device=cpu&range=1h")).text
        beyond = (await client.get("/scaling?function=matmul&device=cpu&page=9")).text
    assert [each["reason"] for each in first["decisions"]][:2] == ["because 0", "because 2"]
    assert (len(first["decisions"]), first["more"]) == (ON_A_PAGE, True)
    assert (len(second["decisions"]), second["more"]) == (ON_A_PAGE, False)
    assert second["decisions"][-1]["reason"] == "because 98"
    assert "range=1h&amp;page=2" in page
    assert "There are no older decisions." in beyond


async def test_decisions_behind_very_many_of_the_other_device_are_found(stage: Stage) -> None:
    stage.made = [*(decision(n, device="gpu") for n in range(300)), decision(300)]
    async with shown(stage, ScalingPage) as client:
        view = (await client.get("/scaling.json?function=matmul&device=cpu")).json()
    assert [each["reason"] for each in view["decisions"]] == ["because 300"]


async def test_a_refresh_stays_with_the_function_that_was_shown(stage: Stage) -> None:
    stage.made = [decision(0)]
    async with shown(stage, ScalingPage) as client:
        page = (await client.get("/scaling")).text
        live = await client.get(
            "/scaling?function=matmul", headers=PARTIAL | {"HX-Target": "#live"}
        )
    assert 'hx-get="/scaling?function=matmul&amp;device=cpu"' in page
    assert "<select" not in live.text


async def test_replicas_whose_number_is_fixed_have_nothing_next(stage: Stage) -> None:
    stage.states["matmul", "cpu"] = PoolState(ReplicaCounts(ready=1), most=1)
    async with shown(stage, ScalingPage) as client:
        page = (await client.get("/scaling?function=matmul")).text
    assert "a fixed number of replicas" in page


async def test_a_device_that_is_not_here_is_told_so(stage: Stage) -> None:
    async with shown(stage, ScalingPage) as client:
        page = (await client.get("/scaling?function=matmul&device=gpu")).text
        wrong = await client.get("/scaling?function=matmul&device=tpu")
        unknown = await client.get("/scaling?function=nothing", headers=HTML)
    assert "there is no GPU here: nothing is scaled" in page
    assert wrong.status_code == 422
    assert unknown.status_code == 404


async def test_a_ledger_that_is_away_leaves_the_policy_and_what_is_now(stage: Stage) -> None:
    stage.made = stage.window = AWAY
    async with shown(stage, ScalingPage) as client:
        page = (await client.get("/scaling?function=matmul")).text
    assert page.count("<strong>The ledger cannot be read:</strong>") == 2
    assert "9 ready and 1 unacknowledged" in page
    assert "one replica for every 2 messages" in page


async def test_a_world_without_functions_says_what_to_do() -> None:
    async with shown(Stage(), ScalingPage) as client:
        page = (await client.get("/scaling")).text
    assert "No function, nothing to scale." in page


def test_every_field_of_a_policy_is_told() -> None:
    told = {row["name"] for row in policy_rows(Scaling(), None)}
    assert told == set(Scaling.__dataclass_fields__)
