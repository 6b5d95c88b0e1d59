"""What Prometheus scrapes, and what it tells somebody of."""

import re
from typing import Any

from deploy.monitoring import monitoring
from deploy.values import read_values
from tests.deploy.variants import EXTERNAL
from tests.support import ROOT


def found(overlay: str = "production", **overrides: Any) -> dict[str, Any]:
    made = monitoring(read_values(overlay, overrides=overrides))
    return {f"{each['kind']} {each['metadata']['name']}": each for each in made}


def alerts(**overrides: Any) -> dict[str, dict[str, Any]]:
    (group,) = found(**overrides)["PrometheusRule lumbre"]["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_nothing_is_scraped_unless_it_is_asked_for() -> None:
    assert found("dev") == {}


def test_prometheus_shows_a_key_where_gateways_ask_for_one() -> None:
    (endpoint,) = found()["ServiceMonitor lumbre-gateway"]["spec"]["endpoints"]
    key = {"name": "lumbre-metrics", "key": "key"}
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": key}
    (open_,) = found("dev", monitoring={"enabled": True})["ServiceMonitor lumbre-gateway"]["spec"][
        "endpoints"
    ]
    assert "authorization" not in open_


def test_what_recorders_count_is_not_counted_again_at_gateways() -> None:
    (endpoint,) = found()["ServiceMonitor lumbre-gateway"]["spec"]["endpoints"]
    (rule,) = endpoint["metricRelabelings"]
    assert rule["action"] == "drop"
    for name in ("lumbre_invocations_total", "lumbre_phase_seconds_bucket"):
        assert re.fullmatch(rule["regex"], name)
    assert not re.fullmatch(rule["regex"], "lumbre_backlog")


def test_every_monitor_has_the_labels_that_prometheus_looks_for() -> None:
    for each in found(monitoring={"labels": {"team": "gpu"}}).values():
        assert each["metadata"]["labels"]["team"] == "gpu"


def test_alerts_ask_for_metrics_that_there_are() -> None:
    guide = (ROOT / "docs" / "user-guide.md").read_text()
    named = {name for rule in alerts().values() for name in re.findall(r"lumbre_\w+", rule["expr"])}
    assert {"lumbre_backlog", "lumbre_replicas"} <= named
    for name in named:
        assert f"`{name}`" in guide


def test_every_alert_is_about_this_namespace_and_says_what_to_do() -> None:
    for name, rule in alerts().items():
        assert name.startswith("Lumbre")
        for series in re.findall(r"\b(?:up|lumbre_\w+|rabbitmq_\w+)\{([^}]*)\}", rule["expr"]):
            assert 'namespace="lumbre"' in series
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert len(rule["annotations"]["description"]) > 40
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_a_queue_is_nearly_full_at_four_fifths_of_what_gateways_let_wait() -> None:
    expression = alerts(settings={"queue_limit": "50"})["LumbreQueueNearlyFull"]["expr"]
    assert expression.endswith("> 40")


def test_a_broker_elsewhere_is_watched_elsewhere() -> None:
    there = found(broker=EXTERNAL)
    assert "PodMonitor lumbre-rabbitmq" not in there
    assert "LumbreBrokerBlocks" not in alerts(broker=EXTERNAL)
