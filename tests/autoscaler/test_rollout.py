"""Applying phase by phase: what is asked of the cluster, in which order, and how it ends."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.cluster import Cluster
from autoscaler.identity import Identity
from autoscaler.refusal import ClusterError, Owned
from autoscaler.rollout import CREATOR, Rollout
from tests.autoscaler.apiserver import ApiServer

Object = dict[str, Any]


class Told:
    """What was told, and what is done to the cluster when something is waited for."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.waits: list[str] = []
        self.meanwhile: Iterator[Callable[[], object]] = iter(())

    def step(self, text: str) -> None:
        self.steps.append(text)

    def waiting(self, text: str) -> None:
        self.waits.append(text)
        next(self.meanwhile, lambda: None)()


class Clock:
    """A second goes by each time somebody looks."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def rollout(cluster: Cluster, told: Told) -> Rollout:
    return Rollout(cluster, told, timeout=6, interval=0, clock=Clock())


def config(name: str = "lumbre", value: str = "1") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "lumbre"},
        "data": {"a": value},
    }


def worker(image: str = "lumbre:cpu") -> Object:
    labels = {"app.kubernetes.io/component": "worker"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "matmul-gpu", "namespace": "lumbre", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"spec": {"image": image}}},
    }


def thing(kind: str, name: str, api_version: str = "apps/v1", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "lumbre"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


# ── objects ───────────────────────────────────────────────────────────────────────────────────


def test_objects_are_made_and_what_stays_as_it_is_is_counted(
    rollout: Rollout, told: Told, api: ApiServer
) -> None:
    rollout.apply({"foundation": [config("a"), config("b")]})
    assert told.steps == [
        "foundation: ConfigMap a created",
        "foundation: ConfigMap b created",
    ]
    told.steps.clear()
    rollout.apply({"foundation": [config("a", "2"), config("b")]})
    assert told.steps == ["foundation: ConfigMap a changed", "foundation: 1 of 2 unchanged"]


def test_a_namespace_comes_before_what_is_in_it(rollout: Rollout, api: ApiServer) -> None:
    other = config() | {"metadata": {"name": "x", "namespace": "other"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
    rollout.apply({"foundation": [other, namespace]})
    assert api.get("configmaps", "x", "other")


def test_a_field_that_is_no_longer_said_goes_and_others_fields_stay(
    rollout: Rollout, api: ApiServer
) -> None:
    first = config()
    first["data"]["b"] = "2"
    rollout.apply({"foundation": [first]})
    api.set_field("configmaps", "lumbre", ("data", "theirs"), "3", manager="kubectl-edit")
    rollout.apply({"foundation": [config()]})
    assert api.get("configmaps", "lumbre")["data"] == {"a": "1", "theirs": "3"}


def test_workers_begin_at_zero_and_an_apply_never_touches_their_count(
    rollout: Rollout, cluster: Cluster, api: ApiServer
) -> None:
    rollout.apply({"functions": [worker()]})
    assert api.get("deployments", "matmul-gpu")["spec"]["replicas"] == 0
    owners = api.owners["deployments", "lumbre", "matmul-gpu"]
    assert owners["spec", "replicas"] == {CREATOR}
    assert [leaf for leaf, by in owners.items() if CREATOR in by] == [("spec", "replicas")]
    api.set_field("deployments", "matmul-gpu", ("spec", "replicas"), 3, manager="hpa")
    rollout.apply({"functions": [worker("lumbre:cpu-2")]})
    found = api.get("deployments", "matmul-gpu")["spec"]
    assert found["replicas"] == 3
    assert found["template"]["spec"]["image"] == "lumbre:cpu-2"


def test_no_pod_of_a_new_deployment_of_workers_is_ever_started(
    rollout: Rollout, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    stamp = api._stamp

    def watched(found: Object) -> None:
        counts.append(found.get("spec", {}).get("replicas"))
        stamp(found)

    monkeypatch.setattr(api, "_stamp", watched)
    rollout.apply({"functions": [worker()]})
    assert set(counts) == {0}


def test_a_scaler_that_is_quicker_than_the_first_apply_keeps_its_count(
    rollout: Rollout, cluster: Cluster, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ScaledObject may have outlived an earlier Deployment of its name."""
    apply = cluster.apply

    def raced(wanted: Object, **how: Any) -> Object:
        done = apply(wanted, **how)
        if "manager" not in how:
            api.set_field("deployments", "matmul-gpu", ("spec", "replicas"), 2, manager="hpa")
        return done

    monkeypatch.setattr(cluster, "apply", raced)
    rollout.apply({"functions": [worker()]})
    assert api.get("deployments", "matmul-gpu")["spec"]["replicas"] == 2
    owners = api.owners["deployments", "lumbre", "matmul-gpu"]
    assert owners["spec", "replicas"] == {"hpa"}
    assert not any(CREATOR in by for by in owners.values())


def test_an_apply_that_was_interrupted_in_the_middle_is_taken_up(
    rollout: Rollout, cluster: Cluster, api: ApiServer
) -> None:
    half = worker()
    half["spec"]["replicas"] = 0
    cluster.apply(half, manager=CREATOR)
    rollout.apply({"functions": [worker("lumbre:cpu-2")]})
    found = api.get("deployments", "matmul-gpu")["spec"]
    assert (found["replicas"], found["template"]["spec"]["image"]) == (0, "lumbre:cpu-2")


def test_a_conflict_is_no_reason_to_take_a_field(rollout: Rollout, api: ApiServer) -> None:
    rollout.apply({"foundation": [config()]})
    api.set_field("configmaps", "lumbre", ("data", "a"), "9", manager="kubectl-edit")
    with pytest.raises(Owned, match="kubectl-edit"):
        rollout.apply({"foundation": [config()]})
    assert api.get("configmaps", "lumbre")["data"]["a"] == "9"


def test_a_conflict_is_overruled_when_somebody_says_so(
    cluster: Cluster, told: Told, api: ApiServer
) -> None:
    cluster.apply(config())
    api.set_field("configmaps", "lumbre", ("data", "a"), "9", manager="kubectl-edit")
    forced = Rollout(cluster, told, timeout=5, force=True, interval=0)
    forced.apply({"foundation": [config()]})
    assert api.get("configmaps", "lumbre")["data"]["a"] == "1"


def test_what_belongs_to_the_cluster_may_be_left_to_others(
    rollout: Rollout, told: Told, api: ApiServer
) -> None:
    api.denied |= {("patch", "namespaces"), ("get", "namespaces"), ("patch", "priorityclasses")}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lumbre"}}
    rollout.apply({"foundation": [namespace]})
    assert (
        told.steps[0]
        == "foundation: Namespace lumbre stays as it is: this account may not change it"
    )
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "lumbre-gateway"},
        "value": 1,
    }
    with pytest.raises(ClusterError, match="may not patch priorityclasses"):
        rollout.apply({"foundation": [priority]})
    api.add(priority)
    rollout.apply({"foundation": [priority]})


# ── trying out ────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    rollout: Rollout, cluster: Cluster, api: ApiServer
) -> None:
    rollout.apply({"foundation": [config("same"), config("other")]})
    before = dict(api.objects)
    found = rollout.try_out([config("same"), config("other", "2"), config("new"), worker()])
    assert {identity.name: how for identity, how in found.items()} == {
        "same": "unchanged",
        "other": "changed",
        "new": "created",
        "matmul-gpu": "created",
    }
    assert api.objects == before


def test_all_that_would_be_refused_is_told_at_once(rollout: Rollout, api: ApiServer) -> None:
    rollout.apply({"foundation": [config()]})
    api.set_field("configmaps", "lumbre", ("data", "a"), "9", manager="kubectl-edit")
    api.denied.add(("patch", "deployments"))
    with pytest.raises(ClusterError) as e:
        rollout.try_out([config(), worker()])
    assert "owned by kubectl-edit" in str(e.value)
    assert "may not patch deployments.apps" in str(e.value)


def test_what_is_in_a_namespace_that_is_yet_to_come_is_new(rollout: Rollout) -> None:
    other = config() | {"metadata": {"name": "x", "namespace": "other"}}
    assert list(rollout.try_out([other]).values()) == ["created"]


# ── waiting ───────────────────────────────────────────────────────────────────────────────────


def test_a_phase_begins_when_the_one_before_is_ready(
    rollout: Rollout, told: Told, api: ApiServer
) -> None:
    def ready() -> None:
        assert api.names("jobs") == []
        api.set_status("statefulsets", "db", {"readyReplicas": 1, "observedGeneration": 1})

    def complete() -> None:
        done = {"type": "Complete", "status": "True"}
        api.set_status("jobs", "migrate", {"conditions": [done]})

    told.meanwhile = iter([ready, complete])
    store, job = thing("StatefulSet", "db", replicas=1), thing("Job", "migrate", "batch/v1")
    rollout.apply({"stores": [store], "jobs": [job], "services": []})
    assert told.steps == [
        "stores: StatefulSet db created",
        "stores: StatefulSet db is ready",
        "jobs: Job migrate created",
        "jobs: Job migrate is ready",
    ]
    assert told.waits[0].startswith("stores: waiting for StatefulSet db (its controller has not")


def test_a_wait_ends_and_says_what_the_pods_wait_for(
    rollout: Rollout, told: Told, api: ApiServer
) -> None:
    labels = {"app": "gateway"}
    placed = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    }
    api.add(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "gateway-1", "labels": labels},
            "status": {"conditions": [placed]},
        }
    )
    gateway = thing("Deployment", "gateway", replicas=1, selector={"matchLabels": labels})
    with pytest.raises(ClusterError) as e:
        rollout.apply({"services": [gateway]})
    assert "not ready after 6 s (--timeout" in str(e.value)
    assert "pod gateway-1 is Unschedulable: 0/3 nodes are available" in str(e.value)
    assert "Unschedulable" in told.waits[-1]


def test_a_rollout_that_its_controller_gives_up_is_not_waited_for(
    rollout: Rollout, told: Told, api: ApiServer
) -> None:
    late = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "has timed out progressing",
    }
    stuck = {"observedGeneration": 1, "conditions": [late]}
    told.meanwhile = iter([lambda: api.set_status("deployments", "gateway", stuck)])
    with pytest.raises(ClusterError, match=r"Deployment gateway failed: .*timed out progressing"):
        rollout.apply({"services": [thing("Deployment", "gateway", replicas=1)]})
    assert len(told.waits) == 1


def failed_job() -> Object:
    said = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}
    return {"conditions": [said]}


def test_a_job_that_fails_shows_its_last_words(
    rollout: Rollout, told: Told, api: ApiServer
) -> None:
    labels = {"batch.kubernetes.io/job-name": "migrate"}
    for name, made in (("migrate-2", "2026-01-02"), ("migrate-1", "2026-01-01")):
        metadata = {"name": name, "labels": labels, "creationTimestamp": made}
        api.add({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    log = "/api/v1/namespaces/lumbre/pods/migrate-2/log"
    api.extra[log] = "connecting\nno password supplied\n"
    told.meanwhile = iter([lambda: api.set_status("jobs", "migrate", failed_job())])
    with pytest.raises(ClusterError) as e:
        rollout.apply({"jobs": [thing("Job", "migrate", "batch/v1")]})
    assert str(e.value) == (
        "Job migrate failed: BackoffLimitExceeded: m\n  | connecting\n  | no password supplied"
    )


def test_a_job_that_failed_before_runs_again(rollout: Rollout, told: Told, api: ApiServer) -> None:
    api.add(thing("Job", "migrate", "batch/v1") | {"status": failed_job()})
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    told.meanwhile = iter([lambda: api.set_status("jobs", "migrate", done)])
    rollout.apply({"jobs": [thing("Job", "migrate", "batch/v1")]})
    assert told.steps == ["jobs: Job migrate created", "jobs: Job migrate is ready"]


def test_pods_that_are_not_even_made_are_explained_by_events(
    rollout: Rollout, api: ApiServer
) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "StatefulSet", "name": "db"},
        "type": "Warning",
        "message": 'create Pod db-0 failed: violates PodSecurity "restricted:latest"',
    }
    api.add(event)
    store = thing("StatefulSet", "db", replicas=1, selector={"matchLabels": {"app": "db"}})
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        rollout.apply({"stores": [store]})


def test_what_is_deleted_while_it_is_waited_for_is_told(
    rollout: Rollout, told: Told, cluster: Cluster
) -> None:
    identity = Identity("apps/v1", "StatefulSet", "db", "lumbre")
    told.meanwhile = iter([lambda: cluster.delete(identity)])
    with pytest.raises(ClusterError, match="StatefulSet db failed: somebody deleted it"):
        rollout.apply({"stores": [thing("StatefulSet", "db", replicas=1)]})


def test_an_account_that_may_not_see_pods_waits_all_the_same(
    rollout: Rollout, api: ApiServer
) -> None:
    api.denied |= {("list", "pods"), ("list", "events")}
    store = thing("StatefulSet", "db", replicas=1, selector={"matchLabels": {"app": "db"}})
    with pytest.raises(ClusterError, match="its controller has not seen it yet"):
        rollout.apply({"stores": [store]})
