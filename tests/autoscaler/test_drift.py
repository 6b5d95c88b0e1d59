"""What an apply would change, without what changes by itself."""

from typing import Any

from autoscaler.cluster import Cluster
from autoscaler.drift import drift
from tests.autoscaler.apiserver import ApiServer


def config(name: str = "lumbre", value: str = "1", namespace: str = "lumbre") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"a": value, "b": "x"},
    }


def test_what_is_as_it_should_be_does_not_differ(cluster: Cluster, api: ApiServer) -> None:
    cluster.apply(config())
    api.set_status("configmaps", "lumbre", {"phase": "busy"})
    api.set_field("configmaps", "lumbre", ("data", "theirs"), "3", manager="somebody")
    assert list(drift(cluster, [config()], [])) == []


def test_a_change_is_a_diff_of_the_fields_that_change(cluster: Cluster) -> None:
    cluster.apply(config())
    (change,) = drift(cluster, [config(value="2")], [])
    lines = change.diff.splitlines()
    assert lines[:2] == ["--- live/ConfigMap/lumbre", "+++ applied/ConfigMap/lumbre"]
    changed = [line for line in lines[2:] if line[0] in "+-"]
    assert changed == ["-  a: '1'", "+  a: '2'"]
    assert not change.owned
    assert cluster.apply(config(), dry_run=True)["data"]["a"] == "1"  # nothing was stored


def test_what_would_be_made_and_what_would_be_deleted_differ_in_every_line(
    cluster: Cluster,
) -> None:
    cluster.apply(config("old"))
    old = cluster.all("v1", "ConfigMap")[0]
    made, gone = drift(cluster, [config("new")], [old])
    assert made.diff.startswith("--- nothing/ConfigMap/new\n+++ applied/ConfigMap/new\n")
    assert gone.diff.startswith("--- live/ConfigMap/old\n+++ gone/ConfigMap/old\n")
    assert "resourceVersion" not in gone.diff
    assert {line[0] for line in made.diff.splitlines()[3:]} == {"+"}
    assert {line[0] for line in gone.diff.splitlines()[3:]} == {"-"}


def test_a_conflict_is_shown_with_its_owner(cluster: Cluster, api: ApiServer) -> None:
    cluster.apply(config())
    api.set_field("configmaps", "lumbre", ("data", "a"), "9", manager="kubectl-edit")
    (change,) = drift(cluster, [config()], [])
    assert "-  a: '9'\n+  a: '1'\n" in change.diff
    assert "kubectl-edit" in change.owned


def test_objects_of_a_namespace_that_is_yet_to_come_are_new(cluster: Cluster) -> None:
    (change,) = drift(cluster, [config(namespace="other")], [])
    assert change.diff.startswith("--- nothing/")
