"""What a function is, how busy it is, and why an invocation waits."""

from pathlib import Path
from typing import Any

import httpx

from tests.runtime.gateway.asking import ASYNC, FUNCTIONS, ends, is_running, start
from tests.support import NodeFactory, eventually

FUNCTION = {
    *("name", "description", "devices", "input_schema", "output_schema", "timeout", "scaling"),
    *("backlog", "replicas", "latency", "speedup", "waiting", "error"),
}


def test_a_function_tells_what_it_is_and_how_busy(client: httpx.Client, gate: Path) -> None:
    client.post("/invoke/hold", json={"gate": str(gate.parent)})
    first = start(client, "hold", gate=str(gate))
    eventually(is_running(client, first))
    start(client, "hold", gate=str(gate))
    told = client.get("/functions/hold").json()
    assert told.keys() >= FUNCTION
    assert (told["name"], told["devices"], told["timeout"]) == ("hold", ["cpu"], 60)
    assert told["description"] == "Run until the gate is there; one at a time."
    assert told["input_schema"]["required"] == ["gate"]
    assert told["input_schema"]["properties"]["mark"] == {"type": "string", "default": ""}
    assert told["output_schema"] == {"type": "integer"}
    assert told["scaling"]["cpu"]["max_replicas"] == 1
    assert told["backlog"] == {"cpu": {"ready": 1, "unacknowledged": 1, "dead": 0}}
    assert told["replicas"] == {"cpu": {"starting": 0, "ready": 0, "busy": 1, "draining": 0}}
    assert told["latency"]["cpu"]["n"] >= 1
    assert told["latency"]["cpu"]["run"].keys() == {"p50", "p95", "p99"}
    assert (told["speedup"], told["error"]) == (None, None)
    assert told["waiting"]["cpu"]["cause"] == "at_max"
    gate.touch()
    eventually(lambda: client.get("/functions/hold").json()["waiting"] == {"cpu": None})


def test_all_functions_are_listed_and_broken_files_too(client: httpx.Client) -> None:
    page = client.get("/functions").json()
    assert page["next"] is None
    by_name = {item["name"]: item for item in page["items"]}
    assert {"add", "hold", "slow_start", "never_ready", "broken"} <= by_name.keys()
    assert all(item.keys() >= FUNCTION for item in page["items"])
    broken = by_name["broken"]
    assert broken["error"]["type"] == "ImportError"
    assert "no such driver" in broken["error"]["message"]
    assert broken["file"].endswith("broken.py")
    assert client.get("/functions/broken").json() == broken
    assert [name for name, item in by_name.items() if item["error"]] == ["broken"]


def waiting(client: httpx.Client, function: str) -> dict[str, Any]:
    told: dict[str, Any] = client.get(f"/functions/{function}").json()["waiting"]["cpu"] or {}
    return told


def test_it_waits_because_a_replica_starts(client: httpx.Client, slow_gate: Path) -> None:
    id = start(client, "slow_start")
    eventually(lambda: waiting(client, "slow_start").get("detail") == "1 starting")
    assert waiting(client, "slow_start")["cause"] == "starting"
    slow_gate.touch()
    assert ends(client, id)["cold"]
    assert waiting(client, "slow_start") == {}


def test_it_waits_because_replicas_die_while_starting(client: httpx.Client) -> None:
    id = start(client, "never_ready")
    eventually(lambda: waiting(client, "never_ready").get("cause") == "crash_looping")
    assert "the weights are not there" in waiting(client, "never_ready")["detail"]
    assert client.delete(f"/invocations/{id}").json()["status"] == "cancelled"


def test_it_waits_behind_others_while_nobody_wants_more_replicas(
    client: httpx.Client, gate: Path
) -> None:
    first = start(client, "hold_few", gate=str(gate))
    eventually(is_running(client, first))
    start(client, "hold_few", gate=str(gate))
    assert waiting(client, "hold_few")["cause"] == "behind"


def test_it_waits_because_the_gpu_is_gone(start_node: NodeFactory, gate: Path) -> None:
    node = start_node(FUNCTIONS, LUMBRE_SIMULATE_GPU="1", LUMBRE_GRACE="0")
    for device in ("cpu", "gpu"):
        for _ in range(10):
            answer = node.client.post(f"/invoke/anywhere?device={device}")
            assert answer.headers["invocation-device"] == device
        assert answer.json() == ("simulated" if device == "gpu" else "real")
        record = node.client.get(f"/invocations/{answer.headers['invocation-id']}").json()
        assert record["simulated"] == (device == "gpu")
        assert answer.headers.get("invocation-simulated") == ("true" if device == "gpu" else None)
    assert node.client.post("/invoke/anywhere").headers["invocation-device"] == "gpu"

    def speedup() -> dict[str, Any]:
        told: dict[str, Any] = node.client.get("/functions/anywhere").json()["speedup"] or {}
        return told if told.get("n") == {"cpu": 10, "gpu": 11} else {}

    told = eventually(speedup, within=20)  # it is looked at every few seconds
    assert told.keys() == {
        *("ratio", "interval", "n", "pairs", "basis", "median_run", "simulated", "enough")
    }
    low, high = told["interval"]
    assert 0 < low <= told["ratio"] <= high
    assert (told["basis"], told["pairs"], told["simulated"]) == ("any inputs", 1, True)
    assert told["enough"] is True
    body = {"gate": str(gate)}
    headers = {"Idempotency-Key": "gpu", **ASYNC}
    accepted = node.client.post("/invoke/anywhere?device=gpu", json=body, headers=headers)
    assert accepted.status_code == 202
    assert node.stop() == 0
    del node._environment["LUMBRE_SIMULATE_GPU"]
    node.start()
    told = node.client.get("/functions/anywhere").json()
    assert told["waiting"]["gpu"]["cause"] == "no_gpu"
    assert told["backlog"]["gpu"]["ready"] == 1
