"""Metrics, traces and health."""

from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.runtime.gateway.asking import TRACE, is_running, start
from tests.support import eventually


def parsed(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def samples(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(client.get("/metrics").text)
        for sample in family.samples
    }


def test_metrics_count_what_was_done(client: httpx.Client) -> None:
    client.post("/invoke/fail")
    client.post("/invoke/add", json={"a": 1})
    before = samples(client)
    for n in range(3):
        client.post("/invoke/add", json={"a": n})
    client.post("/invoke/fail")
    after = samples(client)

    def rise(name: str, function: str, **labels: str) -> float:
        all_labels = frozenset({"function": function, "device": "cpu", **labels}.items())
        return after[name, all_labels] - before[name, all_labels]

    assert rise("lumbre_invocations_total", "add", status="succeeded") == 3
    assert rise("lumbre_invocations_total", "fail", status="failed") == 1
    for phase in ("queue", "start", "run"):
        assert rise("lumbre_phase_seconds_count", "add", phase=phase) == 3
        assert rise("lumbre_phase_seconds_bucket", "add", phase=phase, le="+Inf") == 3
    assert rise("lumbre_phase_seconds_sum", "add", phase="run") > 0


def test_metrics_show_backlog_replicas_starts_and_decisions(
    client: httpx.Client, gate: Path
) -> None:
    first = start(client, "hold", gate=str(gate))
    eventually(is_running(client, first))
    start(client, "hold", gate=str(gate))
    told = samples(client)

    def value(name: str, **labels: str) -> float:
        return told[name, frozenset({"function": "hold", "device": "cpu", **labels}.items())]

    assert value("lumbre_backlog", state="ready") == 1
    assert value("lumbre_backlog", state="unacknowledged") == 1
    assert value("lumbre_backlog", state="dead") == 0
    assert value("lumbre_replicas", state="busy") == 1
    assert value("lumbre_replicas", state="starting") == 0
    assert value("lumbre_cold_starts_total") >= 1
    assert value("lumbre_scaling_decisions_total", direction="up") >= 1


def test_metrics_tell_whether_the_audit_balances(client: httpx.Client) -> None:
    client.post("/invoke/add", json={"a": 1})

    def audited() -> bool:
        return ("lumbre_audit_timestamp_seconds", frozenset()) in samples(client)

    eventually(audited)
    assert samples(client)["lumbre_audit_problems", frozenset()] == 0


def test_every_scaling_decision_is_told_with_its_reason(client: httpx.Client, gate: Path) -> None:
    gate.touch()
    client.post("/invoke/hold", json={"gate": str(gate)})
    decision = eventually(lambda: client.get("/decisions?function=hold").json()["items"])[-1]
    assert (decision["function"], decision["device"]) == ("hold", "cpu")
    assert (decision["before"], decision["after"], decision["backlog"]) == (0, 1, 1)
    assert "activation" in decision["reason"]
    assert decision["at"].endswith("Z")
    everything = client.get("/decisions").json()["items"]
    assert decision in everything
    assert len(client.get("/decisions?limit=1").json()["items"]) == 1


def test_metrics_come_in_the_format_that_is_asked_for(client: httpx.Client) -> None:
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    families = {
        "lumbre_invocations",
        "lumbre_phase_seconds",
        "lumbre_backlog",
        "lumbre_replicas",
        "lumbre_cold_starts",
        "lumbre_scaling_decisions",
    }
    assert families <= {family.name for family in parsed(plain.text)}
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    modern = client.get("/metrics", headers=accept)
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    strict: Iterable[Metric] = openmetrics.text_string_to_metric_families(  # type: ignore[no-untyped-call]
        modern.text
    )
    assert families <= {family.name for family in strict}


def test_a_trace_goes_through_to_the_function_and_back(client: httpx.Client) -> None:
    answer = client.post("/invoke/told", headers={"traceparent": TRACE})
    ours = answer.headers["traceparent"]
    assert answer.json()["traceparent"] == ours
    version, trace, span, flags = ours.split("-")
    assert (version, trace, flags) == ("00", TRACE.split("-")[1], "01")
    assert span != TRACE.split("-")[2]
    assert answer.json()["id"] == answer.headers["invocation-id"]
    record = client.get(f"/invocations/{answer.headers['invocation-id']}").json()
    assert record["traceparent"] == ours
    replay = client.post(f"{record['links']['self']}/replay", headers={"traceparent": TRACE})
    assert replay.headers["traceparent"].split("-")[1] == trace


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        TRACE.upper(),
        TRACE + "-more",
        "ff" + TRACE[2:],
        "00-" + "0" * 32 + TRACE[35:],
        TRACE[:36] + "0" * 16 + "-01",
        TRACE + "\t\u00e9",
    ],
)
def test_a_trace_that_is_none_is_ignored(client: httpx.Client, wrong: str) -> None:
    headers = [(b"traceparent", wrong.encode("latin-1"))]
    answer = client.post("/invoke/told", headers=headers)
    assert answer.status_code == 200
    id = answer.headers["invocation-id"]
    told = client.get(f"/invocations/{id}").json()["traceparent"]
    assert told == f"00-{id}-{id[16:]}-01"


def test_an_invocation_under_the_callers_own_id_has_a_trace_too(client: httpx.Client) -> None:
    for id in ("short", "F" * 32, "0" * 32, "g" * 32):
        client.put(f"/invocations/{id}?function=told")
        version, trace, span, flags = (
            client.get(f"/invocations/{id}").json()["traceparent"].split("-")
        )
        assert (version, flags) == ("00", "01")
        assert len(trace) == 32 and int(trace, 16)
        assert len(span) == 16 and int(span, 16)


def test_the_node_says_that_it_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/").json()["invoke"] == "POST /invoke/{function}"
