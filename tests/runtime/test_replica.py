"""User code does what it likes in a replica; the node tells what became of it, and goes on."""

import io
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support import NodeFactory, RunningNode, alive, eventually

WILD = Path(__file__).parent / "wild_functions"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where functions that cannot take a path look for files."""
    return tmp_path_factory.mktemp("wild")


@pytest.fixture(scope="module")
def node(start_node: NodeFactory, folder: Path) -> RunningNode:
    """One node for all the wild functions."""
    return start_node(WILD, WILD_FOLDER=str(folder), PYTHONUNBUFFERED="")


@pytest.fixture(scope="module", autouse=True)
def _accounts_balance(node: RunningNode) -> Iterator[None]:
    """After all that: nothing is lost, and nothing was answered twice."""
    yield
    audit = node.client.get("/audit").json()
    assert audit["holds"], audit
    assert audit["ignored_outcomes"] == 0


def invoke(node: RunningNode, function: str, **parameters: Any) -> httpx.Response:
    return node.client.post(f"/invoke/{function}", json=parameters)


def begin(node: RunningNode, function: str, **parameters: Any) -> str:
    """Invoke without waiting; gives the id."""
    prefer = {"Prefer": "respond-async"}
    answer = node.client.post(f"/invoke/{function}", json=parameters, headers=prefer)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def record(node: RunningNode, answer: httpx.Response | str) -> dict[str, Any]:
    """The record of an invocation, by its answer or its id."""
    id = answer if isinstance(answer, str) else answer.headers["Invocation-Id"]
    return dict(node.client.get(f"/invocations/{id}").json())


def logs(node: RunningNode, answer: httpx.Response) -> str:
    return node.client.get(f"/invocations/{answer.headers['Invocation-Id']}/logs").text


def events(node: RunningNode, function: str, **parameters: Any) -> list[tuple[str, Any]]:
    """Invoke, and all events until the end."""
    accept = {"Accept": "text/event-stream"}
    url = f"/invoke/{function}"
    with node.client.stream("POST", url, json=parameters, headers=accept) as stream:
        lines = stream.read().decode()
    return [
        (name, json.loads(data))
        for name, data in re.findall(r"^event: (\w+)\ndata: (.*)$", lines, re.M)
    ]


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# ── the replica dies ──────────────────────────────────────────────────────────────────────────────


def test_a_replica_that_exits_is_retried_then_dead_with_status_and_last_output(
    node: RunningNode,
) -> None:
    answer = invoke(node, "leave", code=3, last_words="goodbye")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    told = record(node, answer)
    assert (told["status"], told["attempt"]) == ("dead", 3)
    assert told["error"]["type"] == "ReplicaDied"
    assert told["error"]["ending"] == "exit status 3"
    assert told["error"]["last_output"] == "goodbye\n"
    assert [a["attempt"] for a in told["attempts"]] == [1, 2]
    assert len({a["replica"] for a in told["attempts"]}) == 2
    assert logs(node, answer) == "goodbye\n"


def test_a_replica_that_exits_with_0_has_died_too(node: RunningNode) -> None:
    answer = invoke(node, "leave", code=0)
    assert answer.status_code == 502
    assert record(node, answer)["error"]["ending"] == "exit status 0"


def test_who_dies_twice_and_then_returns_has_succeeded(node: RunningNode, tmp_path: Path) -> None:
    answer = invoke(node, "leave_until", folder=str(tmp_path), lives=2)
    assert (answer.status_code, answer.json()) == (200, 2)
    assert answer.headers["Invocation-Attempt"] == "3"


@pytest.mark.parametrize(
    ("function", "ending"),
    [
        ("segfault", "signal 11 (SIGSEGV)"),
        ("abort", "signal 6 (SIGABRT)"),
        ("close_everything", "exit status 1"),
    ],
)
def test_a_crash_is_named(node: RunningNode, function: str, ending: str) -> None:
    answer = invoke(node, function)
    assert answer.status_code == 502
    assert record(node, answer)["error"]["ending"] == ending
    assert ending in answer.json()["detail"]


def test_a_crash_in_c_leaves_the_python_stack_as_last_output(node: RunningNode) -> None:
    told = record(node, invoke(node, "segfault"))
    assert re.search(r'endings\.py", line \d+ in segfault', told["error"]["last_output"])


def test_a_replica_that_takes_too_much_memory_is_killed_and_says_so(node: RunningNode) -> None:
    assert invoke(node, "eat", mebibytes=20).json() == 1
    answer = invoke(node, "eat", mebibytes=4000)
    assert answer.status_code == 502
    error = record(node, answer)["error"]
    assert error["type"] == "MemoryLimit"
    assert f"{150 * 2**20:,} bytes" in error["message"]


@pytest.mark.parametrize(
    ("how", "recycled"),
    [
        ("MemoryError", True),
        ("SystemExit", True),
        ("KeyboardInterrupt", False),
        ("GeneratorExit", False),
    ],
)
def test_what_is_raised_fails_the_invocation_and_not_the_replica(
    node: RunningNode, how: str, recycled: bool
) -> None:
    before = invoke(node, "give_up", how="not").json()
    answer = invoke(node, "give_up", how=how)
    assert answer.status_code == 500
    error = record(node, answer)["error"]
    assert error["type"] == how
    assert record(node, answer)["attempt"] == 1
    after = invoke(node, "give_up", how="not").json()
    assert (after != before) == recycled
    assert alive(before) != recycled or eventually(lambda: not alive(before))


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("long", "ValueError", r"very very.* characters ….* long$"),
        ("unspeakable", "Unspeakable", "whose text cannot be told: RuntimeError"),
        ("surrogate", "ValueError", "half . a character"),
        ("deep", "RecursionError", "maximum recursion depth"),
    ],
)
def test_an_error_that_is_hard_to_tell_is_told(
    node: RunningNode, how: str, kind: str, message: str
) -> None:
    before = invoke(node, "complain", how="not").json()
    answer = invoke(node, "complain", how=how)
    assert answer.status_code == 500
    error = record(node, answer)["error"]
    assert error["type"] == kind
    assert re.search(message, error["message"])
    assert len(error["message"]) < 5000
    assert invoke(node, "complain", how="not").json() == before


def test_attempts_that_raised_are_in_the_record(node: RunningNode) -> None:
    answer = invoke(node, "by_name", kind="subclass", succeed_at=3)
    assert (answer.status_code, answer.json()) == (200, 3)
    attempts = record(node, answer)["attempts"]
    assert [(a["attempt"], a["error"]) for a in attempts] == [
        (n, {"type": "Flaky", "message": "a subclass"}) for n in (1, 2)
    ]
    assert all(a["started_at"] <= a["finished_at"] for a in attempts)


def test_requests_that_come_together_share_a_batch(node: RunningNode) -> None:
    assert invoke(node, "together", x=0).json()["with"] == 1
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda x: invoke(node, "together", x=x).json(), range(4)))
    assert [a["x"] for a in answers] == [0, 1, 2, 3]
    assert max(a["with"] for a in answers) > 1


# ── too long, and cancelled ───────────────────────────────────────────────────────────────────────


def test_who_sleeps_over_the_timeout_is_killed_and_the_next_is_served_at_once(
    node: RunningNode,
) -> None:
    before = invoke(node, "doze", seconds=0).json()
    began = time.monotonic()
    answer = invoke(node, "doze", seconds=60)
    assert 0.7 <= time.monotonic() - began < 3
    assert answer.status_code == 504
    told = record(node, answer)
    assert (told["status"], told["error"]["type"]) == ("timed_out", "FunctionTimeout")
    assert told["attempt"] == 1
    assert logs(node, answer) == "dozing off\n"
    after = invoke(node, "doze", seconds=0)
    assert time.monotonic() - began < 5
    assert after.json() != before
    assert after.headers["Invocation-Attempt"] == "1"
    eventually(lambda: not alive(before))


def test_who_holds_the_gil_is_killed_on_time(node: RunningNode) -> None:
    assert invoke(node, "hold", numbers=10).json() == 45
    began = time.monotonic()
    answer = invoke(node, "hold", numbers=10**12)
    assert answer.status_code == 504
    assert 0.7 <= time.monotonic() - began < 3


@pytest.mark.parametrize(("polite", "left"), [(True, "stopped"), (False, "running")])
def test_a_cancelled_function_is_asked_and_then_killed(
    node: RunningNode, tmp_path: Path, polite: bool, left: str
) -> None:
    note = tmp_path / "note"
    id = begin(node, "obey", note=str(note), polite=polite)
    eventually(lambda: note.exists() and note.read_text() == "running")
    replica = record(node, id)["replica"]
    answer = node.client.delete(f"/invocations/{id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    other = tmp_path / "other"
    second = begin(node, "obey", note=str(other))
    eventually(other.exists)  # the one replica is free again, or there is a new one
    assert note.read_text() == left
    assert (record(node, second)["replica"] == replica) == polite
    assert record(node, id)["status"] == "cancelled"
    assert other.read_text() == "running"
    node.client.delete(f"/invocations/{second}")
    eventually(lambda: other.read_text() == "stopped")


# ── threads and processes ─────────────────────────────────────────────────────────────────────────


def test_a_forked_child_that_comes_back_does_not_answer(node: RunningNode) -> None:
    replicas = {invoke(node, "fork_back").json() for _ in range(5)}
    assert len(replicas) == 1


@pytest.mark.parametrize("then", ["exit", "sleep"])
def test_what_a_replica_has_started_dies_with_it(node: RunningNode, then: str) -> None:
    pids: list[int] = []
    accept = {"Accept": "text/event-stream"}
    with node.client.stream(
        "POST", "/invoke/leave_children", json={"then": then}, headers=accept
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and "pids" in line:
                pids = json.loads(line[5:])["pids"]
                if then == "sleep":
                    assert all(alive(pid) for pid in pids)
                    node.client.delete(f"/invocations/{stream.headers['Invocation-Id']}")
    assert len(pids) == 3
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_threads_may_tell_progress_while_a_result_is_sent(node: RunningNode) -> None:
    assert invoke(node, "chatter").content == b"done"
    assert invoke(node, "chatter").content == b"done"


def test_programs_that_never_stop_to_write_do_not_hold_up_the_node(node: RunningNode) -> None:
    began = time.monotonic()
    replicas = {invoke(node, "print_forever").json() for _ in range(3)}
    assert node.client.get("/healthz").status_code == 200
    assert time.monotonic() - began < 5
    assert len(replicas) == 1
    os.kill(replicas.pop(), signal.SIGKILL)  # it would go on writing beside the other tests


# ── output ────────────────────────────────────────────────────────────────────────────────────────


def test_output_is_captured_however_it_is_written(node: RunningNode) -> None:
    for word in ("one", "two"):
        answer = invoke(node, "write_everywhere", word=word)
        assert answer.status_code == 200
        ways = re.findall(rf"(print|stderr|write|printf|unended) {word}", logs(node, answer))
        assert sorted(ways) == ["print", "printf", "stderr", "unended", "write"]


def test_a_gigabyte_of_output_is_bounded_and_the_node_stays_responsive(node: RunningNode) -> None:
    before = resident(node.process.pid)
    slowest, most = 0.0, 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal slowest, most
        with httpx.Client(base_url=node.url, timeout=60) as client:
            while not stop.is_set():
                began = time.monotonic()
                client.get("/healthz").raise_for_status()
                slowest = max(slowest, time.monotonic() - began)
                most = max(most, resident(node.process.pid))

    with ThreadPoolExecutor(1) as threads:
        watching = threads.submit(watch)
        answer = invoke(node, "write_much", mebibytes=1024)
        stop.set()
        watching.result()
    assert answer.json() == 1024
    text = logs(node, answer)
    assert len(text) < 300 * 1024
    assert "bytes left out" in text
    assert slowest < 1.0
    assert most - before < 100 * 2**20


@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
def test_closed_output_does_not_harm_the_answers(node: RunningNode, which: str) -> None:
    for _ in range(3):
        answer = invoke(node, "close_output", which=which)
        assert (answer.status_code, answer.json()) == (200, which)


def test_output_that_was_replaced_does_not_harm_an_error(node: RunningNode) -> None:
    answer = invoke(node, "close_output", which="replaced")
    assert (answer.status_code, record(node, answer)["error"]["message"]) == (500, "told nobody")
    assert invoke(node, "close_output", which="none").json() == "none"


# ── results ───────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_null(node: RunningNode) -> None:
    answer = invoke(node, "give", what="nothing")
    assert (answer.status_code, answer.content) == (200, b"null")


def test_nan_is_null(node: RunningNode) -> None:
    assert invoke(node, "give", what="nan").json() == {"loss": None, "best": [None, 1.0]}


def test_a_large_result_is_whole(node: RunningNode) -> None:
    assert invoke(node, "give", what="1 MB").json() == {"text": "x" * 1_000_000}


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_bytes_have_their_media_type(node: RunningNode, size: int) -> None:
    answer = invoke(node, "draw", size=size)
    assert answer.content == b"p" * size
    assert answer.headers["content-type"] == "image/png"
    again = node.client.get(f"/invocations/{answer.headers['Invocation-Id']}/result")
    assert again.content == answer.content


def test_a_blob_has_its_own_media_type(node: RunningNode) -> None:
    answer = invoke(node, "give", what="blob")
    assert answer.content == b"a,b\n"
    assert answer.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("odd", "ResultNotSerializable", "Odd has no JSON form"),
        ("exception", "ResultNotSerializable", "a ValueError, which has no JSON form"),
        ("nested", "ResultNotSerializable", "a list of 1, which has no JSON form"),
        ("100 MB", "ResultTooLarge", "100,000,000 bytes, over the limit of 67,108,864"),
    ],
)
def test_a_result_that_cannot_be_sent_fails_by_name(
    node: RunningNode, what: str, kind: str, message: str
) -> None:
    before = invoke(node, "give", what="pid").json()
    answer = invoke(node, "give", what=what)
    assert answer.status_code == 500
    error = record(node, answer)["error"]
    assert error["type"] == kind
    assert message in error["message"]
    assert invoke(node, "give", what="pid").json() == before


def test_a_tensor_and_an_array_are_npy(node: RunningNode) -> None:
    for what, kind in (("tensor", np.float32), ("array", np.int16)):
        answer = invoke(node, "tensor", what=what)
        assert answer.headers["content-type"] == "application/x-npy"
        grid = np.load(io.BytesIO(answer.content))
        np.testing.assert_array_equal(grid, np.arange(6, dtype=kind).reshape(2, 3))
        assert grid.dtype == kind


def test_a_tensor_without_dimensions_is_a_number(node: RunningNode) -> None:
    assert invoke(node, "tensor", what="scalar").json() == 15.0


def test_scalars_of_numpy_inside_a_result_are_numbers(node: RunningNode) -> None:
    expected = {"mean": 2.5, "n": 6, "row": [0.0, 1.0, 2.0], "bad": [None]}
    assert invoke(node, "tensor", what="inside").json() == expected


# ── setup, streams, context ───────────────────────────────────────────────────────────────────────


def test_what_setup_makes_is_kept_between_calls(node: RunningNode) -> None:
    answers = [invoke(node, "keeper").json() for _ in range(3)]
    assert [a["calls"] for a in answers] == [1, 2, 3]
    assert {a["setups"] for a in answers} == {1}
    assert len({a["pid"] for a in answers}) == 1


@pytest.mark.parametrize(
    ("how", "cause"),
    [(None, "FileNotFoundError"), ("exit", "exit status 7; its last output: no weights today")],
)
def test_a_setup_that_fails_is_told_and_tried_again_until_it_works(
    node: RunningNode, folder: Path, how: str | None, cause: str
) -> None:
    weights = folder / "weights"
    if how:
        weights.write_text(how)
    id = begin(node, "fussy")

    def waiting() -> str:
        function = node.client.get("/functions/fussy").json()
        why = function["waiting"]["cpu"] or {"cause": "", "detail": ""}
        return str(why["detail"]) if why["cause"] == "crash_looping" else ""

    eventually(lambda: "(2 in a row)" in waiting() and cause in waiting())
    assert record(node, id)["status"] == "queued"
    weights.write_text("fine")
    result = node.client.get(f"/invocations/{id}/result", headers={"Prefer": "wait=20"})
    assert result.status_code == 200
    assert record(node, id)["attempt"] == 1
    weights.unlink()
    assert invoke(node, "fussy").json() == result.json()  # whoever is set up needs no file
    os.kill(result.json(), signal.SIGKILL)
    eventually(lambda: not alive(result.json()))


@pytest.mark.parametrize(("end", "result"), [("last", {"number": 2}), ("return", "returned")])
def test_each_yield_is_an_event_and_the_last_value_or_the_returned_one_the_result(
    node: RunningNode, end: str, result: Any
) -> None:
    told = events(node, "count", n=3, end=end)
    names = [name for name, _ in told]
    assert names[0] == "queued" and "running" in names and names[-1] == "succeeded"
    values = [data for name, data in told if name == "progress"]
    assert values == [
        {"value": {"number": 0}},
        {"fraction": 0.5, "half": True},
        {"value": {"number": 1}},
        {"value": {"number": 2}},
    ]
    assert told[-1][1]["result"] == result
    assert invoke(node, "count", n=3, end=end).json() == result


@pytest.mark.parametrize(
    ("end", "status", "kind"),
    [
        ("raise", "failed", "ValueError"),
        ("odd", "failed", "ResultNotSerializable"),
        ("large", "failed", "ResultTooLarge"),
        ("die", "dead", "ReplicaDied"),
    ],
)
def test_a_stream_that_breaks_has_told_what_came_before(
    node: RunningNode, end: str, status: str, kind: str
) -> None:
    told = events(node, "count", n=2, end=end)
    assert [d["value"] for n, d in told if n == "progress" and "value" in d] == [
        {"number": 0},
        {"number": 1},
    ]
    assert told[-1][0] == status
    assert told[-1][1]["error"]["type"] == kind


def test_a_stream_of_nothing_is_null(node: RunningNode) -> None:
    assert invoke(node, "count", n=0).json() is None


def test_a_context_knows_and_tells_everything(node: RunningNode) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = node.client.post(
        "/invoke/tell",
        files={"upload": ("up.bin", b"u" * 300_000, "application/octet-stream")},
        headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    id = answer.headers["Invocation-Id"]
    assert (told["id"], told["attempt"]) == (id, 1)
    assert 0 < told["left"] <= 20
    assert (told["upload"], told["same"]) == (300_000, True)
    assert told["traceparent"].split("-")[1] == trace
    assert node.client.get(told["link"]).text == "all well"
    kept = record(node, answer)
    assert kept["links"]["blobs"] == {"report.txt": told["link"]}
    assert kept["timings"]["outer"] >= kept["timings"]["inner"] >= 0.02
    assert kept["timings"]["run"] >= kept["timings"]["outer"]
    assert "inner;dur=" in answer.headers["Server-Timing"]
    assert logs(node, answer) == "INFO logged 42\n"


def test_progress_is_an_event(node: RunningNode) -> None:
    told = events(node, "tell")
    assert ("progress", {"fraction": 0.25, "stage": "begun"}) in told
    assert ("log", {"text": "INFO logged 42\n"}) in told


def test_a_function_may_refuse_its_input(node: RunningNode) -> None:
    answer = invoke(node, "judge", number=13)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/number", "detail": "is unlucky: take another"}]
    assert invoke(node, "judge", number=14).json() == 14


def test_a_progress_that_cannot_be_is_the_functions_fault(node: RunningNode) -> None:
    answer = invoke(node, "boast")
    assert (answer.status_code, record(node, answer)["error"]["type"]) == (500, "ValueError")
