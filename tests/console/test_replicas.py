"""The page of replicas."""

import time
from types import SimpleNamespace

import pytest

from console.replicas import MOST, MOST_ENDED, Replicas, replica_view
from runtime.model import Depth, PoolState, ReplicaCounts
from tests.console.stage import AWAY, LONG, Stage, life, shown, spec


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.show(spec("matmul", "cpu", "gpu"), spec("looping"))
    stage.states = {("matmul", "cpu"): PoolState(ReplicaCounts(busy=1), most=2)}
    return stage


async def test_each_replica_says_what_it_does_and_how_busy_it_was(stage: Stage) -> None:
    stage.replicas = [life(), life(name="g", device="gpu", simulated=True, gpu_memory=3_000_000)]
    async with shown(stage, Replicas) as client:
        page = (await client.get("/replicas")).text
        view = (await client.get("/replicas.json")).json()
    assert view["counts"] == {"starting": 0, "ready": 0, "busy": 2, "draining": 0}
    assert view["memory"] == 40_000_000
    assert "pid 4711" in page
    assert "host-1" in page
    assert "3.00 MB" in page
    assert "simulated" in page


def test_busy_is_a_share_of_the_time_since_it_was_ready() -> None:
    assert replica_view(life(), 107.0)["busy"] == pytest.approx(0.5)
    assert replica_view(life(ready_at=None), 107.0)["busy"] is None
    assert replica_view(life(busy=99.0), 107.0)["busy"] == 1.0  # a clock that was set


async def test_the_living_come_before_those_that_ended(stage: Stage) -> None:
    ended = [
        life(name=f"e{n}", ended_at=130.0 + n, ending="scaled in") for n in range(MOST_ENDED + 2)
    ]
    stage.replicas = [*ended, *(life(name=f"l{n}") for n in range(MOST + 3))]
    async with shown(stage, Replicas) as client:
        view = (await client.get("/replicas.json")).json()
    names = [row["name"] for row in view["replicas"]]
    assert len(names) == MOST + MOST_ENDED
    assert names[MOST:][0] == f"e{MOST_ENDED + 1}"
    assert view["more"] == {"alive": 3, "ended": 2}


async def test_a_function_whose_replicas_die_says_why(stage: Stage) -> None:
    why = "replicas die while starting (5 in a row): ModuleNotFoundError: No module named 'cv2'"
    stage.states["looping", "cpu"] = PoolState(ReplicaCounts(starting=1), most=2, trouble=why)
    async with shown(stage, Replicas) as client:
        view = (await client.get("/replicas.json")).json()
        page = (await client.get("/replicas?function=looping")).text
    (trouble,) = view["troubles"]
    assert (trouble["function"], trouble["cause"]) == ("looping", "crash_looping")
    assert "No module named &#39;cv2&#39;" in page


async def test_work_for_a_gpu_that_is_not_there_is_a_trouble(stage: Stage) -> None:
    stage.depths["matmul.gpu"] = Depth(ready=1)
    async with shown(stage, Replicas) as client:
        view = (await client.get("/replicas.json")).json()
    assert [each["cause"] for each in view["troubles"]] == ["no_gpu"]


async def test_a_broken_file_is_a_trouble_of_its_functions(stage: Stage) -> None:
    error = SimpleNamespace(type="SyntaxError", message="invalid syntax")
    stage.broken = {"wild": SimpleNamespace(file="functions/wild.py", error=error)}
    async with shown(stage, Replicas) as client:
        page = (await client.get("/replicas")).text
    assert "functions/wild.py: SyntaxError: invalid syntax" in page


async def test_where_none_runs_the_page_says_what_starts_one(stage: Stage) -> None:
    async with shown(stage, Replicas) as client:
        everywhere = (await client.get("/replicas")).text
        of_one = (await client.get("/replicas?function=matmul")).text
        unknown = (await client.get("/replicas?function=nothing")).text
    assert "No replica runs: they start when work comes." in everywhere
    assert "curl -X POST http://here/invoke/matmul" in of_one
    assert "There is no function nothing." in unknown


async def test_the_chart_has_those_that_ended_before_too(stage: Stage) -> None:
    now = time.time()
    stage.past = [life(name=f"{LONG}-cpu-9", function=LONG, spawned_at=now - 20, ended_at=now - 9)]
    async with shown(stage, Replicas) as client:
        page = (await client.get("/replicas?range=1h")).text
    assert 'kind="lifelines"' in page
    assert f"{LONG}-cpu-9" in page


async def test_a_ledger_that_is_away_leaves_what_lives_now(stage: Stage) -> None:
    stage.past, stage.replicas = AWAY, [life()]
    async with shown(stage, Replicas) as client:
        page = (await client.get("/replicas")).text
    assert "matmul-cpu-1" in page
    assert "The ledger cannot be read" in page
