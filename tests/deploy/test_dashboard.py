"""The dashboard asks for metrics that a node has, with labels that they have."""

import json
import re
from typing import Any

import httpx
import pytest
import yaml

from tests.runtime.gateway.asking import FUNCTIONS
from tests.support import ROOT, NodeFactory, eventually

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "lumbre.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
WORDS = {"sum", "max", "rate", "histogram_quantile", "by", "le"}  # of PromQL


@pytest.fixture(scope="module")
def exposition(start_node: NodeFactory) -> dict[str, set[str]]:
    """The labels of every sample of a node that has run something, by name."""
    node = start_node(FUNCTIONS)
    assert node.client.post("/invoke/add", json={"a": 1}).status_code == 200

    def told() -> str:
        text = httpx.get(f"{node.url}/metrics").text
        return text if "lumbre_audit_problems" in text else ""  # the first look begins an audit

    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", eventually(told), re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def test_every_metric_of_the_dashboard_is_one_of_a_node(exposition: dict[str, set[str]]) -> None:
    asked = {name for text in EXPRESSIONS for name in re.findall(r"\blumbre_\w+", text)}
    assert asked <= exposition.keys()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposition}
    families -= {"lumbre_audit_timestamp_seconds"}  # a date, for who doubts the number
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {name for name in families if name.startswith("lumbre_")} == shown


def test_every_label_of_the_dashboard_is_one_of_its_metric(
    exposition: dict[str, set[str]],
) -> None:
    for text in EXPRESSIONS:
        for name, selector in re.findall(r"\b(lumbre_\w+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)=~?\"", selector))
            assert labels <= exposition[name], text
        grouped = {label for by in re.findall(r"by \(([^)]*)\)", text) for label in by.split(", ")}
        known = set().union(*(exposition[name] for name in re.findall(r"\blumbre_\w+", text)))
        assert grouped <= known, text


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_whole(expression: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    bare = re.sub(r'\{[^}]*\}|"[^"]*"|\[[^\]]*\]|\([a-z_, ]*\)', "", expression)
    functions = {word for word in re.findall(r"[a-z_]+", bare) if not word.startswith("lumbre_")}
    assert functions <= WORDS
    for counter in re.findall(r"(\w+)\(lumbre_\w+(?:_total|_bucket|_sum|_count)\{", expression):
        assert counter == "rate"  # a counter by itself says nothing


def test_panels_are_named_and_lie_beside_each_other() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["title"] and panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells


def test_every_variable_is_used_and_every_one_that_is_used_is_there() -> None:
    named = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps([panel["targets"] for panel in PANELS])
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
    assert used == named == {"datasource", "function", "device"}


def test_grafana_is_given_the_dashboard_and_where_prometheus_is() -> None:
    provisioning = GRAFANA / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "lumbre.yaml").read_text())[
        "providers"
    ]
    mounted = {v.split(":")[1]: v.split(":")[0] for v in compose["grafana"]["volumes"]}
    assert mounted[provider["options"]["path"]] == "./grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./grafana/provisioning"
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/lumbre.json"
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
