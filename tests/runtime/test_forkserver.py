"""Processes that fork others: who is killed takes the right ones along, and is replaced."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime import zygote
from runtime.zygote import ForkServer, ZygoteGone, ending
from tests.support import NodeFactory, RunningNode, alive, eventually

WILD = Path(__file__).parent / "wild_functions"


def state(pid: int) -> str:
    """One letter, as in /proc; the empty string for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[int]:
    return [d for child in children(pid) for d in (child, *descendants(child))]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those wild functions that need no torch."""
    folder = tmp_path_factory.mktemp("functions")
    for name in ("endings", "processes", "slow"):
        (folder / f"{name}.py").write_bytes((WILD / f"{name}.py").read_bytes())
    return folder


@pytest.fixture
def node(start_node: NodeFactory, functions: Path) -> Iterator[RunningNode]:
    """A node that a test may kill."""
    node = start_node(functions)
    yield node
    if node.process.poll() is None:
        node.stop()


def invoke(node: RunningNode, function: str, **parameters: Any) -> httpx.Response:
    return httpx.post(f"{node.url}/invoke/{function}", json=parameters, timeout=60)


def begin(node: RunningNode, function: str, **parameters: Any) -> str:
    """Invoke without waiting; gives the id."""
    prefer = {"Prefer": "respond-async"}
    answer = node.client.post(f"/invoke/{function}", json=parameters, headers=prefer)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def result(node: RunningNode, id: str) -> httpx.Response:
    return node.client.get(f"/invocations/{id}/result", headers={"Prefer": "wait=20"})


def replica_of(node: RunningNode, function: str, begun: Path) -> int:
    """The one replica of `obey`, which has left a note that it runs."""
    eventually(begun.exists)
    return next(
        pid
        for pid in descendants(node.process.pid)
        if not children(pid) and parent(parent(parent(pid))) == node.process.pid
    )


def left_children(node: RunningNode) -> list[int]:
    """What an invocation of `leave_children` has started, and its replica, while it sleeps."""
    accept = {"Accept": "text/event-stream"}
    url = f"{node.url}/invoke/leave_children"
    with httpx.stream("POST", url, json={"then": "sleep"}, headers=accept, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and "pids" in line:
                found = [int(p) for p in line.partition("[")[2].partition("]")[0].split(",")]
                assert len(found) == 3 and all(map(alive, found))
                return found
    raise AssertionError("it told no process ids")


# ── the node ──────────────────────────────────────────────────────────────────────────────────────


def test_nobody_outlives_a_node_that_is_killed(node: RunningNode, tmp_path: Path) -> None:
    begin(node, "obey", note=str(tmp_path / "note"), polite=False)
    eventually((tmp_path / "note").exists)
    begin(node, "hold", numbers=10**12)
    pids = left_children(node)
    eventually(lambda: len(descendants(node.process.pid)) >= 1 + 3 + 3 + 2)
    everybody = {*descendants(node.process.pid), *pids}
    node.kill()
    eventually(lambda: not any(map(alive, everybody)), within=5)


def test_a_zygote_has_the_time_to_kill_what_its_replicas_have_started(node: RunningNode) -> None:
    pids = left_children(node)
    busy = parent(pids[2])
    (root,) = children(node.process.pid)
    others = [pid for pid in children(root) if pid != busy]
    os.kill(busy, signal.SIGSTOP)
    node.kill()
    eventually(lambda: not any(map(alive, others)))
    os.kill(busy, signal.SIGCONT)
    eventually(lambda: not any(map(alive, [*pids, busy, root])), within=5)


def test_no_replica_outlives_a_node_and_zygotes_that_are_killed_together(
    node: RunningNode, tmp_path: Path
) -> None:
    begin(node, "obey", note=str(tmp_path / "note"), polite=False)
    eventually((tmp_path / "note").exists)
    (root,) = children(node.process.pid)
    zygotes = children(root)
    replicas = [pid for zygote in zygotes for pid in children(zygote)]
    for pid in (root, *zygotes):
        os.kill(pid, signal.SIGSTOP)  # so that they cannot notice
    node.kill()
    for pid in (root, *zygotes):
        os.kill(pid, signal.SIGKILL)
    assert replicas
    eventually(lambda: not any(map(alive, replicas)), within=5)


def test_nobody_outlives_a_node_that_is_stopped(node: RunningNode) -> None:
    assert invoke(node, "doze", seconds=0).status_code == 200
    everybody = descendants(node.process.pid)
    assert len(everybody) >= 1 + 3 + 1
    assert node.stop() == 0
    assert not any(map(alive, everybody))


# ── the zygote and the root ───────────────────────────────────────────────────────────────────────


def test_a_zygote_that_is_killed_costs_an_attempt_and_nothing_else(
    node: RunningNode, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    id = begin(node, "obey", note=str(note))
    replica = replica_of(node, "obey", note)
    note.unlink()
    os.kill(parent(replica), signal.SIGKILL)
    eventually(lambda: not alive(replica))
    eventually(note.exists)  # it runs again
    record = node.client.get(f"/invocations/{id}").json()
    assert (record["status"], record["attempt"]) == ("running", 2)
    assert record["attempts"][0]["error"]["message"] == (
        "the replica ended: killed with its zygote"
    )
    node.client.delete(f"/invocations/{id}")
    assert invoke(node, "doze", seconds=0).status_code == 200


def test_what_a_replica_has_started_dies_with_a_zygote_that_is_killed(node: RunningNode) -> None:
    pids = left_children(node)
    os.kill(parent(pids[2]), signal.SIGKILL)
    eventually(lambda: not any(map(alive, pids)))


def test_a_root_that_is_killed_costs_nothing_at_all(node: RunningNode, tmp_path: Path) -> None:
    note = tmp_path / "note"
    id = begin(node, "obey", note=str(note))
    replica = replica_of(node, "obey", note)
    (root,) = children(node.process.pid)
    os.kill(root, signal.SIGKILL)
    assert invoke(node, "doze", seconds=0).status_code == 200
    assert alive(replica)
    os.kill(parent(replica), signal.SIGKILL)  # now there is need of another root
    note.unlink(missing_ok=True)
    eventually(note.exists)
    assert children(node.process.pid) != [root]
    node.client.delete(f"/invocations/{id}")
    assert node.client.get("/audit").json()["holds"]


def test_everybody_killed_at_once_comes_back(node: RunningNode, tmp_path: Path) -> None:
    ids = [begin(node, "doze", seconds=0.1) for _ in range(5)]
    for pid in descendants(node.process.pid):
        os.kill(pid, signal.SIGKILL)
    assert [result(node, id).status_code for id in ids] == [200] * 5
    assert node.client.get("/audit").json()["by_status"]["succeeded"] == 5


# ── nothing is left behind ────────────────────────────────────────────────────────────────────────


def test_two_hundred_starts_leave_no_descriptor_and_no_zombie(node: RunningNode) -> None:
    def die(_: int) -> None:
        assert invoke(node, "leave", code=1).status_code == 502  # after three attempts

    def ready() -> bool:
        counts = node.client.get("/functions/leave").json()["replicas"]["cpu"]
        return bool(counts == {"starting": 0, "ready": 1, "busy": 0, "draining": 0})

    die(0)
    eventually(ready)
    (root,) = children(node.process.pid)
    lasting = [node.process.pid, root, *children(root)]
    before = {pid: descriptors(pid) for pid in lasting}
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(die, range(67)))
    eventually(ready)
    eventually(lambda: all(descriptors(pid) <= before[pid] for pid in lasting))
    assert [pid for pid in descendants(node.process.pid) if state(pid) == "Z"] == []
    assert len(descendants(node.process.pid)) == len(lasting)  # all but the node, and one replica


# ── the client side, alone ────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def server() -> AsyncIterator[ForkServer]:
    server = ForkServer(torch=False)
    yield server
    server.close()
    assert server.process is None or server.process.returncode is not None


async def test_a_root_that_dies_during_an_import_is_told_as_gone(
    server: ForkServer, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    file = tmp_path / "hangs.py"
    file.write_text(f"open({str(started)!r}, 'w').close()\nwhile True: pass\n")
    loading = asyncio.create_task(server.load(str(file)))
    while not started.exists():
        await asyncio.sleep(0.01)
    assert server.process
    (importing,) = children(server.process.pid)
    server.process.kill()
    with pytest.raises(ZygoteGone):
        await asyncio.wait_for(loading, 10)
    eventually(lambda: not alive(importing))
    file.write_text("")
    loaded = await server.load(str(file))
    assert loaded.alive and loaded.loaded["functions"] == []
    loaded.close()


async def test_an_import_that_hangs_is_killed(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote, "LOAD_TIMEOUT", 0.3)
    file = tmp_path / "hangs.py"
    file.write_text("while True: pass")
    loaded = (await server.load(str(file))).loaded
    assert loaded["error"] == {"type": "Timeout", "message": "importing took over 0.3 s"}
    assert server.process
    root = server.process.pid
    eventually(lambda: not children(root))


async def test_a_zygote_leaves_when_it_is_let_go(server: ForkServer, tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.touch()
    idle = await server.load(str(file))
    assert server.process
    (pid,) = children(server.process.pid)
    idle.close_when_idle()
    assert not idle.alive
    eventually(lambda: not state(pid))  # its parent has reaped it, too
    with pytest.raises(ZygoteGone):
        idle.fork("name", {}, [], lambda _: None)
    idle.kill("name")  # nobody is there to be killed, and that is fine


async def test_a_hung_import_does_not_hold_up_the_end(tmp_path: Path) -> None:
    server = ForkServer(torch=False)
    file = tmp_path / "hangs.py"
    file.write_text(f"open({str(tmp_path / 'started')!r}, 'w').close()\nwhile True: pass\n")
    loading = asyncio.create_task(server.load(str(file)))
    while not (tmp_path / "started").exists():
        await asyncio.sleep(0.01)
    assert server.process
    root = server.process.pid
    (importing,) = children(root)
    server.close()
    loading.cancel()
    eventually(lambda: not alive(root) and not alive(importing))


async def test_orders_wait_for_room_and_keep_their_turn() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    line = zygote.Line(ours, lambda _: None)
    reading, writing = os.pipe()
    for number in range(3000):
        line.send({"number": number}, [writing] if number == 2999 else ())
    os.close(writing)
    received: list[int] = []
    fds: list[int] = []
    async with asyncio.timeout(10):
        while len(received) < 3000:
            try:
                data, more, _, _ = socket.recv_fds(theirs, 1000, 4)
            except BlockingIOError:
                await asyncio.sleep(0)
            else:
                received.append(json.loads(data)["number"])
                fds += more
    assert received == list(range(3000))
    (received_fd,) = fds
    os.write(received_fd, b"through")
    assert os.read(reading, 10) == b"through"
    os.close(received_fd)
    assert os.read(reading, 10) == b""  # nobody else has kept it open
    os.close(reading)
    theirs.close()
    with pytest.raises(ZygoteGone):
        line.send({})
    line.close()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (3 << 8, "exit status 3"),
        (9, "signal 9 (SIGKILL)"),
        (11 | 0x80, "signal 11 (SIGSEGV)"),
        (None, "killed with its zygote"),
    ],
)
def test_a_wait_status_is_told_in_words(status: int | None, words: str) -> None:
    assert ending(status) == words
