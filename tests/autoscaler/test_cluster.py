"""A cluster: what it is asked, and how each of its refusals is told."""

import re
from pathlib import Path
from typing import Any

import pytest

import autoscaler.cluster
from autoscaler.cluster import Cluster, connect, moment, quantity
from autoscaler.identity import Identity
from autoscaler.refusal import Absent, ClusterError, Denied, Owned, TryLater, Unreachable
from loadtest.budgets.server import free_port
from tests.autoscaler.apiserver import ApiServer

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "lumbre", "namespace": "lumbre", "labels": {"app": "lumbre"}},
    "data": {"a": "1"},
}
IDENTITY = Identity("v1", "ConfigMap", "lumbre", "lumbre")


# ── objects ───────────────────────────────────────────────────────────────────────────────────


def test_what_is_applied_is_there_and_can_be_listed(cluster: Cluster) -> None:
    assert cluster.get(IDENTITY) is None
    cluster.apply(CONFIG)
    found = cluster.get(IDENTITY)
    assert found is not None
    assert found["data"] == {"a": "1"}
    (listed,) = cluster.all("v1", "ConfigMap", "app=lumbre")
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMap", "v1")
    assert cluster.all("v1", "ConfigMap", "app=other") == []


def test_a_dry_run_stores_nothing(cluster: Cluster, api: ApiServer) -> None:
    assert cluster.apply(CONFIG, dry_run=True)["data"] == {"a": "1"}
    assert api.names("configmaps") == []


def test_it_is_applied_by_lumbre_and_unknown_fields_are_refused(
    cluster: Cluster, api: ApiServer
) -> None:
    cluster.apply(CONFIG)
    method, _, query = api.requests[-1]
    assert method == "PATCH"
    assert query == {"fieldManager": "lumbre", "fieldValidation": "Strict"}


def test_an_object_without_a_namespace_gets_the_cluster_s(cluster: Cluster) -> None:
    config = CONFIG | {"metadata": {"name": "lumbre"}}
    assert cluster.identify(config) == IDENTITY
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    assert cluster.identify(node).namespace == ""


def test_making_what_is_there_changes_nothing(cluster: Cluster, api: ApiServer) -> None:
    assert cluster.create(CONFIG)
    assert not cluster.create(CONFIG | {"data": {"a": "2"}})
    assert api.get("configmaps", "lumbre")["data"] == {"a": "1"}


def test_deleting_waits_for_what_the_object_made_and_deleting_again_is_fine(
    cluster: Cluster, api: ApiServer
) -> None:
    cluster.apply(CONFIG)
    cluster.delete(IDENTITY)
    assert api.requests[-1][2] == {"propagationPolicy": "Foreground"}
    cluster.delete(IDENTITY)
    assert cluster.get(IDENTITY) is None


def test_kinds_are_known_by_discovery_which_is_asked_once(cluster: Cluster, api: ApiServer) -> None:
    assert cluster.knows("keda.sh/v1alpha1", "ScaledObject")
    assert cluster.knows("keda.sh/v1alpha1", "ScaledJob")
    assert not cluster.knows("rabbitmq.com/v1beta1", "RabbitmqCluster")
    assert not cluster.knows("apps/v1", "Scale")  # a subresource
    asked = [path for _, path, _ in api.requests]
    assert asked.count("/apis/keda.sh/v1alpha1") == 1
    api.kinds["rabbitmq.com/v1beta1"] = {"RabbitmqCluster": True}
    cluster.forget_kinds()
    assert cluster.knows("rabbitmq.com/v1beta1", "RabbitmqCluster")


def test_the_version_of_a_managed_cluster_has_a_plus(cluster: Cluster) -> None:
    assert cluster.version() == (1, 33)


def test_events_come_in_the_order_in_which_they_happened_last(
    cluster: Cluster, api: ApiServer
) -> None:
    about = {"involvedObject": {"kind": "Pod", "name": "p"}}
    for name, when in (("b", "2026-01-01T00:00:02Z"), ("a", "2026-01-01T00:00:03Z")):
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}}
        api.add(event | about | {"lastTimestamp": when})
    newer = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "c"}}
    api.add(newer | {"eventTime": "2026-01-01T00:00:01Z", "involvedObject": {"name": "q"}})
    assert [each["metadata"]["name"] for each in cluster.events()] == ["c", "b", "a"]
    assert [each["metadata"]["name"] for each in cluster.events("p")] == ["b", "a"]


def test_an_event_that_is_repeated_happened_when_it_was_last_seen() -> None:
    series = {"series": {"lastObservedTime": "2026-01-02T00:00:00Z"}, "eventTime": "2026-01-01"}
    assert moment({"metadata": {}} | series) == "2026-01-02T00:00:00Z"
    assert moment({"metadata": {}}) == ""


def test_quantities_are_numbers() -> None:
    assert [quantity(text) for text in ("2500m", "4Ki", "7")] == [2.5, 4096, 7]


# ── refusals ──────────────────────────────────────────────────────────────────────────────────


def test_a_conflict_names_each_field_and_its_owner(cluster: Cluster, api: ApiServer) -> None:
    cluster.apply(CONFIG)
    api.set_field("configmaps", "lumbre", ("data", "a"), "9", manager="kubectl-edit")
    with pytest.raises(Owned, match=r"\.data\.a is owned by kubectl-edit.*--force-conflicts") as e:
        cluster.apply(CONFIG)
    assert e.value.owners[0].manager == "kubectl-edit"
    assert cluster.apply(CONFIG, force=True)["data"] == {"a": "1"}


def test_what_the_account_may_not_do_is_named_by_verb_and_resource(
    cluster: Cluster, api: ApiServer
) -> None:
    api.denied.add(("patch", "configmaps"))
    with pytest.raises(Denied, match=r"may not patch configmaps lumbre in namespace lumbre.*Role"):
        cluster.apply(CONFIG)


def test_expired_credentials_name_the_context(cluster: Cluster, api: ApiServer) -> None:
    api.unauthorized = True
    with pytest.raises(Denied, match=r"context test\) does not know this account \(401\).*log in"):
        cluster.get(IDENTITY)


def test_a_missing_kind_and_a_missing_namespace_are_named(cluster: Cluster) -> None:
    with pytest.raises(Absent, match="knows no RabbitmqCluster"):
        cluster.all("rabbitmq.com/v1beta1", "RabbitmqCluster")
    with pytest.raises(Absent, match='namespaces "other" not found'):
        cluster.apply(CONFIG | {"metadata": {"name": "lumbre", "namespace": "other"}})


def test_a_busy_server_is_asked_again_and_not_for_ever(
    cluster: Cluster, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoscaler.cluster, "PAUSE", 0.01)
    cluster.apply(CONFIG)
    api.busy = 2
    assert cluster.get(IDENTITY) is not None
    api.busy = 100
    with pytest.raises(TryLater, match="too many requests"):
        cluster.get(IDENTITY)


def test_what_no_api_server_would_answer_is_told(cluster: Cluster, api: ApiServer) -> None:
    api.extra["/version"] = "<html>a portal</html>"
    with pytest.raises(Unreachable, match="answers what no API server does"):
        cluster.version()
    api.extra["/version"] = []
    with pytest.raises(Unreachable, match="answers what no API server does"):
        cluster.version()


def test_a_server_that_never_answers_is_given_up(api: ApiServer, tmp_path: Path) -> None:
    with (
        connect("lumbre", kubeconfig=api.kubeconfig(tmp_path), answer=0.2) as cluster,
        api.silent(),
        pytest.raises(Unreachable, match=r"has not answered for 0\.2 s"),
    ):
        cluster.version()


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "https://no.invalid"])
def test_a_server_that_is_not_there_is_told(url: str, api: ApiServer, tmp_path: Path) -> None:
    file, url = api.kubeconfig(tmp_path), url.format(port=free_port())
    file.write_text(file.read_text().replace(api.url, url))
    with (
        connect("lumbre", kubeconfig=file) as cluster,
        pytest.raises(Unreachable, match=rf"{re.escape(url)} .*cannot be reached"),
    ):
        cluster.version()


def test_a_server_without_tls_is_told(api: ApiServer, tmp_path: Path) -> None:
    file = api.kubeconfig(tmp_path)
    file.write_text(file.read_text().replace("http://", "https://"))
    with (
        connect("lumbre", kubeconfig=file) as cluster,
        pytest.raises(Unreachable, match="cannot be reached"),
    ):
        cluster.version()


# ── kubeconfigs ───────────────────────────────────────────────────────────────────────────────


def test_without_a_kubeconfig_it_is_said_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match=r"no kubeconfig: .*--kubeconfig FILE"):
        connect("lumbre")
    with pytest.raises(ClusterError, match="there is no such file"):
        connect("lumbre", kubeconfig=tmp_path / "none")


def test_the_kubeconfig_is_that_of_the_environment_or_of_home(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = api.kubeconfig(tmp_path)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{file}")
    with connect("lumbre") as cluster:
        assert cluster.version() == (1, 33)
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    file.rename(tmp_path / ".kube" / "config")
    with connect("lumbre") as cluster:
        assert cluster.version() == (1, 33)


def test_a_pod_uses_its_service_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ClusterError, match="this pod's service account cannot be used"):
        connect("lumbre")


def test_an_unknown_context_is_refused_with_those_there_are(api: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="has no context 'prod': test"):
        connect("lumbre", context="prod", kubeconfig=api.kubeconfig(tmp_path))


@pytest.mark.parametrize("text", ["", "a: [", "[]", "clusters: 3", "current-context: x"])
def test_a_file_that_is_no_kubeconfig_is_told_in_a_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ClusterError, match="cannot be used") as e:
        connect("lumbre", kubeconfig=file)
    assert "\n" not in str(e.value)
