"""Replicas follow the backlog on this machine: 0 → 1 → n → 0, each change with its reason."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from autoscaler.local import LocalScaler
from runtime.devices import Machine
from runtime.model import Depth
from tests.console.stage import spec
from tests.support import NodeFactory, RunningNode, eventually

FUNCTIONS = Path(__file__).parent / "scaled_functions"
STEADY = 4.0  # seconds of steady use
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> RunningNode:
    return start_node(FUNCTIONS, LUMBRE_SIMULATE_GPU="1", LUMBRE_GPUS="2")


def replicas(node: RunningNode, function: str, device: str = "cpu") -> dict[str, int]:
    counts: dict[str, int] = node.client.get(f"/functions/{function}").json()["replicas"][device]
    return counts


def running(node: RunningNode, function: str, device: str = "cpu") -> int:
    counts = replicas(node, function, device)
    return counts["starting"] + counts["ready"] + counts["busy"]


def cold_starts(node: RunningNode, function: str) -> int:
    line = f'lumbre_cold_starts_total{{device="gpu",function="{function}"}} '
    lines = node.client.get("/metrics").text.splitlines()
    return sum(int(float(text.removeprefix(line))) for text in lines if text.startswith(line))


def decisions(node: RunningNode, function: str) -> list[dict[str, Any]]:
    """Oldest first."""
    items: list[dict[str, Any]] = node.client.get(f"/decisions?function={function}").json()["items"]
    return items[::-1]


def test_a_backlog_brings_replicas_up_to_the_maximum_and_its_end_brings_them_to_zero(
    node: RunningNode,
) -> None:
    eventually(lambda: running(node, "nap") == 0)
    for _ in range(40):
        assert node.client.post("/invoke/nap", headers=ASYNC).status_code == 202
    eventually(lambda: running(node, "nap") == 3)
    eventually(
        lambda: sum(node.client.get("/functions/nap").json()["backlog"]["cpu"].values()) == 0
    )
    eventually(lambda: running(node, "nap") == 0)
    eventually(lambda: decisions(node, "nap")[-1]["after"] == 0)
    changes = [(d["before"], d["after"]) for d in decisions(node, "nap")]
    assert changes[0] == (0, 1)
    assert max(after for _, after in changes) == 3
    assert all(d["reason"] and d["at"] for d in decisions(node, "nap"))


def test_the_first_message_to_an_empty_queue_does_not_wait_for_the_next_poll(
    node: RunningNode,
) -> None:
    """Woken at once: the wait is far under one polling interval, whatever the machine does."""
    eventually(lambda: running(node, "nap") == 0)
    answer = node.client.post("/invoke/nap?seconds=0")
    record = node.client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    assert record["cold"] is True
    assert record["timings"]["start"] > 0


def test_a_minimum_of_one_keeps_a_replica_without_work(node: RunningNode) -> None:
    eventually(lambda: replicas(node, "ever_ready")["ready"] == 1)
    answer = node.client.post("/invoke/ever_ready?x=4")
    record = node.client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    assert (answer.json(), record["cold"]) == (4, False)


def test_gpu_replicas_never_outnumber_the_slots_and_both_functions_get_their_turn(
    node: RunningNode,
) -> None:
    links = []
    for _ in range(8):
        for function in ("first_on_gpu", "second_on_gpu"):
            answer = node.client.post(f"/invoke/{function}?seconds=0.2", headers=ASYNC)
            links.append(answer.headers["location"])
    seen = set()

    def all_done() -> bool:
        now = [replicas(node, f, "gpu") for f in ("first_on_gpu", "second_on_gpu")]
        seen.add(sum(sum(counts.values()) for counts in now))
        return all(node.client.get(link).json()["status"] == "succeeded" for link in links)

    eventually(all_done, within=30)
    assert max(seen) == 2


def test_functions_in_steady_use_do_not_take_slots_from_one_another_all_the_time(
    node: RunningNode,
) -> None:
    """Three that share two slots: each has its turn, and keeps it for a while."""
    functions = ("first_on_gpu", "second_on_gpu", "third_on_gpu")
    before = sum(cold_starts(node, function) for function in functions)
    until = time.monotonic() + STEADY

    def use(function: str) -> int:
        calls = 0
        while calls == 0 or time.monotonic() < until:
            assert node.client.post(f"/invoke/{function}?seconds=0.01").status_code == 200
            calls += 1
        return calls

    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(use, functions))
    starts = sum(cold_starts(node, function) for function in functions) - before
    assert 3 <= starts <= 8  # and 13 to 40 where each took one as soon as its owner paused


def test_a_simulated_gpu_says_so_wherever_it_shows(node: RunningNode) -> None:
    answer = node.client.post("/invoke/first_on_gpu")
    assert answer.headers["invocation-device"] == "gpu"
    assert answer.json() is True


def test_going_up_and_down_is_counted(node: RunningNode) -> None:
    node.client.post("/invoke/nap?seconds=0")
    eventually(lambda: running(node, "nap") == 0)
    lines = node.client.get("/metrics").text.splitlines()
    counted = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("lumbre_scaling_decisions_total") and 'function="nap"' in line
    }
    assert sorted(value > 0 for value in counted.values()) == [True, True]


class Resting:
    """A pool that nothing is asked of."""

    spec = spec("nap")
    device = "cpu"
    queue = "nap.cpu"
    wanted = 0
    active = False

    def scale(self, wanted: int) -> None:
        self.wanted = wanted


@pytest.mark.parametrize("turns", range(8))
async def test_a_scaler_that_is_closed_just_as_it_is_woken_ends(turns: int) -> None:
    async def depth(queue: str) -> Depth:
        return Depth()

    pool: Any = Resting()
    scaler = LocalScaler(Machine(1, 1, (), False, ("cpu",), 0), depth, lambda decision: None)
    scaler.take(pool)
    await asyncio.sleep(0.01)
    scaler.wake(pool.queue)
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(scaler.close(), 5)
