"""Cold starts as bars of parts."""

from console.coldstarts import MOST, cold_start_chart
from runtime.lifeline import ReplicaLife


def life(at: float, took: float | None, setup: float, simulated: bool = False) -> ReplicaLife:
    return ReplicaLife(
        name=f"f-{at}",
        function="f",
        device="gpu" if simulated else "cpu",
        simulated=simulated,
        worker="w",
        pid=1,
        gpu=None,
        state="ready",
        spawned_at=at,
        ready_at=None if took is None else at + took,
        ended_at=None,
        setup=setup,
        served=0,
        busy=0.0,
        memory=0,
        gpu_memory=None,
        ending=None,
        segments=(),
    )


def test_a_start_is_spawn_and_import_and_then_setup() -> None:
    chart = cold_start_chart([life(100.0, 0.5, 0.25)], "5 min")
    (item,) = chart["data"]["items"]
    assert [part["value"] for part in item["parts"]] == [0.25, 0.25]
    assert chart["caption"].startswith("The latest cold start took 500 ms")


def test_parts_are_never_less_than_nothing() -> None:
    chart = cold_start_chart([life(100.0, 0.25, 9.0), life(90.0, -0.5, 0.0)], "5 min")
    for item in chart["data"]["items"]:
        assert all(part["value"] >= 0 for part in item["parts"])


def test_only_the_latest_that_are_ready_are_shown() -> None:
    lives = [life(1000.0, None, 0.0), *(life(float(at), 1.0, 0.0) for at in range(20))]
    assert len(cold_start_chart(lives, "hour")["data"]["items"]) == MOST


def test_nothing_that_started_is_said_in_words() -> None:
    chart = cold_start_chart([life(1.0, None, 0.0)], "hour")
    assert chart["empty"] == "No replica became ready in the last hour."


def test_a_simulated_gpu_is_named_so() -> None:
    chart = cold_start_chart([life(1.0, 1.0, 0.5, simulated=True)], "hour")
    assert "simulated" in chart["data"]["items"][0]["name"]
    assert "simulated" in chart["table"]["rows"][0][1]
