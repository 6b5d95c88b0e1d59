"""`device=compare`: one input on both devices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime import migrate
from tests.runtime.gateway.asking import ASYNC, INLINE, ends, faults, problem
from tests.support import NodeFactory, RunningNode, eventually

FUNCTIONS = Path(__file__).parent.parent / "compare_functions"


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> Iterator[RunningNode]:
    node = start_node(FUNCTIONS, LUMBRE_SIMULATE_GPU="1", LUMBRE_GRACE="1")
    yield node
    audit = node.client.get("/audit").json()
    assert audit["holds"], audit
    assert "Traceback" not in node.log.read_text()


def compare(
    client: httpx.Client, function: str, headers: dict[str, str] | None = None, **given: Any
) -> httpx.Response:
    return client.post(f"/invoke/{function}?device=compare", headers=headers, **given)


def records(client: httpx.Client, function: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/invocations?function={function}").json()["items"]
    return found


def test_both_devices_run_the_same_input_and_are_compared(client: httpx.Client) -> None:
    answer = compare(client, "twice", json={"n": 21})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    cpu, gpu = told["cpu"], told["gpu"]
    assert (cpu["status"], gpu["status"]) == ("succeeded", "succeeded")
    assert cpu["result"]["product"] == gpu["result"]["product"] == 42
    assert told["agree"] == {"product": True, "about": True, "rate": False, "name": True}
    assert told["speedup"] == pytest.approx(cpu["run"] / gpu["run"])
    assert told["simulated"] is gpu["simulated"] is True
    for device, side in (("cpu", cpu), ("gpu", gpu)):
        record = client.get(side["links"]["self"]).json()
        assert (record["device"], record["requested_device"]) == (device, device)
        assert record["input"]["parameters"] == {"n": 21}
        assert record["timings"] == side["timings"]
        assert side["error"] is None


def test_the_gpu_begins_when_the_cpu_is_done(client: httpx.Client) -> None:
    told = compare(client, "twice", json={"n": 1}).json()
    cpu, gpu = (client.get(told[d]["links"]["self"]).json() for d in ("cpu", "gpu"))
    assert gpu["created_at"] >= cpu["finished_at"]


@pytest.mark.parametrize("size", [10, INLINE + 10])
def test_an_upload_is_there_for_both(client: httpx.Client, size: int) -> None:
    answer = client.post(
        "/invoke/measure?device=compare&by=2",
        content=b"\x89" * size,
        headers={"Content-Type": "image/png"},
    )
    told = answer.json()
    assert (told["cpu"]["result"], told["gpu"]["result"]) == (2 * size, 2 * size)
    assert told["agree"] is True
    for device in ("cpu", "gpu"):
        upload = client.get(f"{told[device]['links']['self']}/blobs/image")
        assert len(upload.content) == size


def test_a_side_that_fails_says_why_and_there_is_no_speedup(client: httpx.Client) -> None:
    told = compare(client, "moody", json={}).json()
    assert told["cpu"]["result"] == 1
    assert (told["gpu"]["status"], told["gpu"]["error"]["type"]) == ("failed", "RuntimeError")
    assert "result" not in told["gpu"]
    assert (told["speedup"], told["agree"]) == (None, None)


def test_results_that_are_no_json_are_at_their_links(client: httpx.Client) -> None:
    told = compare(client, "draw", json={}).json()
    assert told["agree"] is None and told["speedup"] > 0
    for device in ("cpu", "gpu"):
        side = told[device]
        assert (side["media_type"], side["size"]) == ("image/png", 4)
        assert "result" not in side
        assert client.get(side["links"]["result"]).content == b"\x89PNG"


def test_who_does_not_wait_gets_both_and_both_are_accepted(
    client: httpx.Client, tmp_path: Path
) -> None:
    answer = compare(client, "hold", ASYNC, json={"gate": str(tmp_path / "gate")})
    assert answer.status_code == 202
    told = answer.json()
    assert [told[d]["device"] for d in ("cpu", "gpu")] == ["cpu", "gpu"]
    assert told["locations"] == [told[d]["links"]["self"] for d in ("cpu", "gpu")]
    assert all(f"<{link}>" in answer.headers["link"] for link in told["locations"])
    assert answer.headers["preference-applied"] == "respond-async"
    eventually(lambda: (tmp_path / "cpu").exists() and (tmp_path / "gpu").exists())
    (tmp_path / "gate").touch()
    assert {ends(client, told[d]["id"])["status"] for d in ("cpu", "gpu")} == {"succeeded"}


def test_who_waits_for_less_than_it_takes_gets_both_then(
    client: httpx.Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    answer = compare(client, "hold", {"Prefer": "wait=1"}, json={"gate": str(gate)})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    gate.touch()
    ids = [answer.json()[d]["id"] for d in ("cpu", "gpu")]
    assert [ends(client, id)["status"] for id in ids] == ["succeeded", "succeeded"]


def test_the_same_key_gives_the_same_two_and_then_their_comparison(
    client: httpx.Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    key = {"Idempotency-Key": "compare them"}
    first = compare(client, "hold", key | ASYNC, json={"gate": str(gate)})
    assert first.status_code == 202
    gate.touch()
    again = compare(client, "hold", key, json={"gate": str(gate)})
    assert again.status_code == 200
    assert [again.json()[d]["id"] for d in ("cpu", "gpu")] == [
        first.json()[d]["id"] for d in ("cpu", "gpu")
    ]
    assert again.json()["agree"] is True
    other = compare(client, "hold", key, json={"gate": f"{gate}-other"})
    assert "idempotency key" in problem(other, 409)["detail"]


def test_an_input_that_does_not_fit_is_refused_before_anything_runs(client: httpx.Client) -> None:
    before = len(records(client, "twice"))
    assert "/n" in faults(compare(client, "twice", json={"n": "many"}))
    assert len(records(client, "twice")) == before


def test_a_function_of_one_device_cannot_be_compared(client: httpx.Client) -> None:
    told = faults(compare(client, "grounded", json={}))
    assert told == {"/device": "is compare, but grounded has no gpu: ask for cpu"}


def test_it_is_not_told_as_events(client: httpx.Client) -> None:
    answer = compare(client, "twice", {"Accept": "text/event-stream"}, json={"n": 1})
    assert "not as events" in faults(answer)["/device"]


def test_elsewhere_compare_is_no_device(client: httpx.Client) -> None:
    answer = client.put("/invocations/mine?function=twice&device=compare", json={"n": 1})
    assert "compare is of POST /invoke alone" in faults(answer)["/device"]


def test_it_compares_over_rabbitmq_and_postgresql_as_well(
    start_node: NodeFactory, rabbit_url: str, postgres_url: str
) -> None:
    migrate.upgrade(postgres_url)
    node = start_node(
        FUNCTIONS,
        LUMBRE_SIMULATE_GPU="1",
        LUMBRE_BROKER_URL=rabbit_url,
        LUMBRE_LEDGER_URL=postgres_url,
        LUMBRE_GRACE="1",
    )
    key = {"Idempotency-Key": "both", "Content-Type": "image/png"}
    told = compare(node.client, "measure", key, content=b"12345")
    assert told.status_code == 200, told.text
    assert (told.json()["gpu"]["result"], told.json()["agree"]) == (5, True)
    again = compare(node.client, "measure", key, content=b"12345")
    assert again.json()["gpu"]["id"] == told.json()["gpu"]["id"]
    accepted = compare(node.client, "twice", ASYNC, json={"n": 2})
    assert accepted.status_code == 202
    for device in ("cpu", "gpu"):
        assert ends(node.client, accepted.json()[device]["id"])["status"] == "succeeded"
    for n in range(6):
        compare(node.client, "twice", json={"n": n})

    def speedup() -> dict[str, Any]:
        found = node.client.get("/functions/twice").json()["speedup"] or {}
        return found if found.get("pairs", 0) >= 6 else {}

    found = eventually(speedup, within=20)
    assert (found["basis"], found["simulated"]) == ("same inputs", True)


def test_without_a_gpu_it_says_what_to_do(start_node: NodeFactory) -> None:
    node = start_node(FUNCTIONS)
    answer = compare(node.client, "twice", json={"n": 1})
    assert "LUMBRE_SIMULATE_GPU=1" in problem(answer, 503)["detail"]
    assert records(node.client, "twice") == []
