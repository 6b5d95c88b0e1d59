"""The promise: what was answered 202 reaches a terminal status, once, whatever is killed."""

import asyncio
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support import NodeFactory, RunningNode, alive, eventually

FUNCTIONS = Path(__file__).parent / "durable_functions"
ROUNDS = 3
EACH = 667


def accept(node: RunningNode, numbers: range, trace: Path, accepted: dict[str, int]) -> None:
    """Send asynchronous invocations, 16 at a time, and keep those that were answered 202."""
    waiting = list(numbers)

    async def send(client: httpx.AsyncClient) -> None:
        while waiting:
            number = waiting.pop()
            body = {"number": number, "trace": str(trace), "seconds": 0.01}
            try:
                answer = await client.post("/invoke/work", json=body)
            except httpx.TransportError:
                return  # the node was killed: nothing was promised
            assert answer.status_code == 202, answer.text
            accepted[answer.json()["id"]] = number

    async def send_all() -> None:
        headers = {"Prefer": "respond-async"}
        async with httpx.AsyncClient(base_url=node.url, headers=headers, timeout=30) as client:
            await asyncio.gather(*(send(client) for _ in range(16)))

    asyncio.run(send_all())


def tree(root: int) -> dict[int, int]:
    """Every descendant of a process, with its parent, as /proc tells."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: dict[int, int] = {}
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found |= {pid: parents[pid] for pid in level}
    return found


def replicas_of(node: RunningNode) -> list[int]:
    """Process ids of the replicas: the leaves of the node's process tree."""
    found = tree(node.process.pid)
    return [pid for pid in found if pid not in found.values()]


def grows(trace: Path, lines: int) -> None:
    """Wait until so many more runs have left their line."""
    before = len(trace.read_text().splitlines())
    eventually(lambda: len(trace.read_text().splitlines()) >= before + lines)


def counts(node: RunningNode) -> dict[str, int]:
    by_status: dict[str, int] = node.client.get("/audit").json()["by_status"]
    return by_status


def finished(node: RunningNode) -> bool:
    by_status = counts(node)
    return not by_status.get("queued") and not by_status.get("running")


@pytest.mark.timeout(180)
def test_nothing_accepted_is_lost_or_recorded_twice_when_everything_is_killed(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    """2 000 invocations; random replicas and then the node are killed -9, three times over.

    The node dies while it accepts, runs and records.  What it accepted without being able to say so
    counts too: it is in the ledger, and ends.
    """
    chance = random.Random(20261123)
    trace = tmp_path / "trace"
    trace.touch()
    node = start_node(FUNCTIONS)
    accepted: dict[str, int] = {}
    for turn in range(ROUNDS):
        numbers = range(turn * EACH, (turn + 1) * EACH)
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(accept, node, numbers, trace, accepted)
            for _ in range(3):
                grows(trace, 20)
                os.kill(chance.choice(replicas_of(node)), signal.SIGKILL)
            eventually(lambda n=numbers: len(accepted) > n.stop - EACH // 3, within=30)  # type: ignore[misc]
            everybody = list(tree(node.process.pid))
            node.kill()
            sending.result()
        eventually(lambda pids=everybody: not any(map(alive, pids)))  # type: ignore[misc]
        node.start()
        accept(node, range(len(accepted), numbers.stop), trace, accepted)
    again = node.log.read_bytes().count(b"unfinished invocations again")
    assert again == ROUNDS, "some kill found nothing unfinished: the test shows little"
    eventually(lambda: finished(node), within=60)

    assert len(accepted) >= ROUNDS * EACH
    audit = node.client.get("/audit").json()
    assert audit["holds"], audit["problems"]
    assert audit["accepted"] >= len(accepted)
    assert audit["by_status"]["succeeded"] == audit["accepted"]
    for id, number in accepted.items():
        assert node.client.get(f"/invocations/{id}/result").json() == {"number": number}
    ran = {line.split()[0] for line in trace.read_text().splitlines()}
    assert ran >= accepted.keys()


def test_an_acceptance_is_in_the_ledger_before_its_answer_is_sent(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    """Killed right after the answer, before anything else could be written."""
    node = start_node(FUNCTIONS)
    body = {"number": 1, "trace": str(tmp_path / "trace"), "seconds": 5}
    answer = node.client.post("/invoke/work", json=body, headers={"Prefer": "respond-async"})
    node.kill()
    node.start()
    record = node.client.get(answer.headers["location"]).json()
    assert record["status"] in ("queued", "running")
    assert record["input"]["parameters"] == body


def test_a_caller_who_waits_finds_the_outcome_after_the_node_was_killed(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    """A synchronous call that had been running for a while is run again after a restart."""
    node = start_node(FUNCTIONS)
    trace = tmp_path / "trace"
    body = {"number": 7, "trace": str(trace), "seconds": 1}
    answer = node.client.post("/invoke/work", json=body, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    location = answer.headers["location"]
    eventually(lambda: counts(node).get("running"))  # and the audit has it written down
    node.kill()
    node.start()
    eventually(lambda: node.client.get(location).json()["status"] == "succeeded")
    assert node.client.get(location).json()["attempt"] == 2


def test_a_drain_finishes_what_runs_and_keeps_what_waits(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    node = start_node(FUNCTIONS)
    trace = tmp_path / "trace"
    headers = {"Prefer": "respond-async"}
    links, count = [], 14  # so many that the next poll still finds work for two replicas
    for number in range(count):
        body = {"number": number, "trace": str(trace), "seconds": 0.7}
        answer = node.client.post("/invoke/work", json=body, headers=headers)
        links.append(answer.headers["location"])
    eventually(lambda: counts(node).get("running", 0) >= 2)
    everybody = list(tree(node.process.pid))
    assert node.stop() == 0
    assert not any(map(alive, everybody)), "a drain left a process behind"
    done = len(trace.read_text().splitlines())
    assert 2 <= done < count
    node.start()
    eventually(lambda: finished(node))
    for link in links:
        record = node.client.get(link).json()
        assert (record["status"], record["attempt"]) == ("succeeded", 1)
    assert len(trace.read_text().splitlines()) == count, "a drained invocation ran twice"


def test_a_second_interrupt_ends_at_once_and_leaves_nobody_behind(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    node = start_node(FUNCTIONS)
    body = {"number": 1, "trace": str(tmp_path / "trace"), "seconds": 60}
    node.client.post("/invoke/work", json=body, headers={"Prefer": "respond-async"})
    eventually(lambda: counts(node).get("running"))
    everybody = list(tree(node.process.pid))
    node.process.send_signal(signal.SIGINT)
    eventually(lambda: b"draining" in node.log.read_bytes())
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(10) == 130
    eventually(lambda: not any(map(alive, everybody)))


def test_two_nodes_cannot_share_a_state_folder(start_node: NodeFactory, tmp_path: Path) -> None:
    node = start_node(FUNCTIONS)
    with pytest.raises(AssertionError, match="another lumbre uses the state folder"):
        RunningNode(tmp_path, FUNCTIONS, {"LUMBRE_STATE": str(node.state)}).start()
