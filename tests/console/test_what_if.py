"""What if: a recorded hour is played again under another policy, and shown beside what was."""

import sys
import time
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import what_if
from console.scaling import ScalingPage
from console.what_if import _of_lives
from runtime.model import PoolState, ReplicaCounts
from runtime.runs import Arrived
from tests.console.stage import AWAY, PARTIAL, Stage, life, shown, spec

PATH = "/scaling.json?function=matmul&device=cpu"
ASK = f"{PATH}&target=1&cooldown=5&min=1&max=2"


def arrived(ago: float, now: float, run: float = 2.0) -> Arrived:
    timings = orjson.dumps({"queue": 0.1, "start": 0.4, "run": run}).decode()
    return Arrived(now - ago, timings, True)


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.show(spec("matmul", "cpu", target=2, max_replicas=4))
    scaled = {"up": 1, "down": 0}
    stage.states = {("matmul", "cpu"): PoolState(ReplicaCounts(ready=1), most=4, decisions=scaled)}
    now = time.time()
    stage.arrived = [arrived(ago, now) for ago in (60, 60.5, 61, 2000, 2001)]
    stage.past = [
        replace(
            life(),
            spawned_at=now - 2001,
            ready_at=now - 2000.5,
            ended_at=now - 1900,
            segments=(),
        )
    ]
    return stage


async def what(stage: Stage, path: str) -> Any:
    async with shown(stage, ScalingPage) as client:
        return (await client.get(path)).json()["what_if"]


async def test_without_a_recording_there_is_nothing(stage: Stage) -> None:
    stage.arrived = []
    assert await what(stage, PATH) is None
    async with shown(stage, ScalingPage) as client:
        assert "What if" not in (await client.get("/scaling?function=matmul")).text


async def test_a_ledger_that_is_away_takes_nothing_but_the_question_away(stage: Stage) -> None:
    stage.arrived = AWAY
    assert await what(stage, ASK) is None


async def test_the_form_has_the_policy_as_it_is_and_simulates_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "_run", None)  # it would fail
    view = await what(stage, PATH)
    values = {field["name"]: field["value"] for field in view["fields"]}
    assert values == {"target": "2", "cooldown": "60", "min": "0", "max": "4"}
    assert view["found"] is None and view["fault"] is None


async def test_another_policy_is_simulated_beside_what_was_recorded(stage: Stage) -> None:
    async with shown(stage, ScalingPage) as client:
        found = (await client.get(ASK)).json()["what_if"]["found"]
        page = (await client.get(ASK.replace(".json", ""))).text
    assert found["changes"] == "target 1, cooldown 5 s, min 1 and max 2"
    rows = {row[0]: row[1:] for row in found["rows"]}
    assert rows["Half took up to"][0] == "2.50 s"
    assert rows["Cold"] == ["100 %", "40.0 %", rows["Cold"][2]]
    assert rows["Replicas at most"] == ["1", "1", "2"]
    names = [line["name"] for line in found["chart"]["data"]["panels"][0]["series"]]
    assert names == ["recorded", "simulated as it is", "simulated with the change"]
    assert any("The same 5 invocations" in line for line in found["assumed"])
    assert "With target 1, cooldown 5 s, min 1 and max 2, 95 % would have taken" in page
    assert 'value="5"' in page  # what was asked stays in the form


async def test_a_refresh_of_the_live_region_simulates_nothing(stage: Stage) -> None:
    async with shown(stage, ScalingPage) as client:
        headers = PARTIAL | {"HX-Target": "#live"}
        answer = await client.get(ASK.replace(".json", ""), headers=headers)
    assert answer.status_code == 200 and "What if" not in answer.text


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("target=none", "Target=none: write a number."),
        ("target=0", "Target=0: give a number above 0."),
        ("min=9&max=2", "Min=9 is above max=2."),
        ("min=-1", "Min=-1: give a whole number of at least 0."),
        ("max=1e999", "Max=inf: give a whole number of at least 1."),
    ],
)
async def test_what_cannot_be_is_said_beside_the_form(stage: Stage, field: str, said: str) -> None:
    async with shown(stage, ScalingPage) as client:
        page = (await client.get(f"/scaling?function=matmul&{field}")).text
    assert said in page and "With the change" not in page


async def test_the_same_question_is_simulated_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    run = what_if._run

    async def counted(question: bytes) -> dict[str, Any]:
        asked.append(question)
        return await run(question)

    monkeypatch.setattr(what_if, "_run", counted)
    async with shown(stage, ScalingPage) as client:
        for _ in range(3):
            assert (await client.get(ASK)).json()["what_if"]["found"]
    assert len(asked) == 1


async def test_a_simulation_that_fails_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "the simulation failed" in (await what(stage, ASK))["fault"]


async def test_times_that_are_not_known_are_left_out(stage: Stage) -> None:
    assert isinstance(stage.arrived, list)
    stage.arrived.append(Arrived(stage.arrived[-1].at, None, False))
    view = await what(stage, ASK)
    assert "1 whose times are not known are left out." in view["found"]["assumed"]


_spans = st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 50)), max_size=8)


@given(_spans)
def test_replicas_over_time_are_never_more_than_there_were_and_their_seconds_add_up(
    spans: list[tuple[float, float]],
) -> None:
    lives = [replace(life(), spawned_at=at, ended_at=at + took) for at, took in spans]
    found = _of_lives(lives, 20.0, 80.0)
    assert found["most"] <= len(lives)
    clipped = (max(0.0, min(80.0, at + took) - max(20.0, at)) for at, took in spans)
    assert found["seconds"] == pytest.approx(sum(clipped))
