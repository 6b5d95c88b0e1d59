"""`lumbre deploy`, as people and scripts use it, against an API server of the test's own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import autoscaler.rollout
from autoscaler.cluster import Cluster
from runtime.baked import bake
from runtime.cli import app
from runtime.cli.deploy import DIFFERS
from tests.autoscaler.apiserver import ApiServer
from tests.support import ROOT, eventually

QUICK = '''
from runtime import Scaling, function


@function(devices=("cpu", "gpu"), scaling={"gpu": Scaling(max_replicas=2)})
def quick() -> int:
    """Be quick."""
    return 1


@function(timeout=1500)
def slow() -> int:
    """Be slow."""
    return 1
'''
LUMBRE = [sys.executable, "-m", "runtime"]


class Result:
    """What a command printed, and said about it."""

    def __init__(self, out: str, said: str) -> None:
        self.out = out
        self.said = said


def lumbre(*arguments: object, code: int = 0, answer: str | None = None) -> Result:
    words = ["deploy", *map(str, arguments)]
    done = CliRunner().invoke(app, words, prog_name="lumbre", input=answer)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return Result(done.stdout, done.stderr)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two functions, baked once for all tests."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "functions.py").write_text(QUICK)
    file = tmp_path_factory.mktemp("catalog") / "catalog.json"
    file.write_bytes(asyncio.run(bake([folder])))
    return file


def furnish(server: ApiServer) -> None:
    """Make it a healthy cluster with four GPUs and KEDA."""
    server.healthy = True
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}}
    server.add(node | {"status": {"allocatable": {"nvidia.com/gpu": "4"}}})
    containers = [{"name": "o", "image": "keda:2.20.1"}]
    server.add(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "keda-operator", "namespace": "keda"},
            "spec": {"template": {"spec": {"containers": containers}}},
            "status": {"availableReplicas": 1},
        }
    )


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A cluster of the test's own, to which KUBECONFIG leads."""
    with ApiServer() as server:
        furnish(server)
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
        yield server


@pytest.fixture(scope="module")
def first_apply(
    catalog: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ApiServer, Result]:
    """What a first apply left behind, and printed."""
    with ApiServer() as server:
        furnish(server)
        config = server.kubeconfig(tmp_path_factory.mktemp("first"))
        flags = ("--overlay", "dev", "--catalog", catalog, "--kubeconfig", config)
        return server, lumbre("apply", *flags)


@pytest.fixture
def deployed(api: ApiServer, first_apply: tuple[ApiServer, Result]) -> ApiServer:
    """A cluster to which all of it was applied."""
    api.copy_of(first_apply[0])
    return api


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("LUMBRE_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def dev(catalog: Path) -> tuple[str, ...]:
    """The flags of what most tests deploy."""
    return ("--overlay", "dev", "--catalog", str(catalog))


# ── render ────────────────────────────────────────────────────────────────────────────────────


def test_it_prints_one_stream_of_yaml(dev: tuple[str, ...]) -> None:
    objects = list(yaml.safe_load_all(lumbre("render", *dev).out))
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert names >= {
        ("Namespace", "lumbre"),
        ("Deployment", "lumbre-gateway"),
        ("Deployment", "quick-gpu"),
        ("ScaledObject", "quick-gpu"),
        ("ScaledJob", "slow-cpu"),
    }
    assert not [each for each in objects if each["kind"] == "Secret"]


def test_flags_change_what_is_rendered(dev: tuple[str, ...]) -> None:
    flags = ("-n", "team-a", "--gpus", 3, "--worker-command", "python -m runtime")
    objects = yaml.safe_load_all(lumbre("render", *dev, *flags, "--set", "devices=[gpu, cpu]").out)
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    worker = found["Deployment", "quick-gpu"]
    assert worker["metadata"]["namespace"] == "team-a"
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "runtime"]


def test_a_file_or_a_folder_is_written(dev: tuple[str, ...], tmp_path: Path) -> None:
    assert "kubectl apply --server-side -f" in lumbre("render", *dev, "-o", "all.yaml").said
    assert len(list(yaml.safe_load_all((tmp_path / "all.yaml").read_text()))) > 20
    assert "kubectl apply -k" in lumbre("render", *dev, "-o", "manifests").said
    assert (tmp_path / "manifests" / "kustomization.yaml").is_file()
    assert "there is no folder" in lumbre("render", *dev, "-o", "no/all.yaml", code=1).said


def test_what_cannot_be_rendered_is_refused_in_lines(dev: tuple[str, ...]) -> None:
    said = lumbre("render", *dev, "--gpus", 1, "--set", "broker.consumer_timeout=60", code=1).said
    assert "max_replicas=2 is above gpus.count=1" in said
    assert "consumer_timeout" in said
    assert "Traceback" not in said
    assert "no overlay 'prod'" in lumbre("render", "--overlay", "prod", code=1).said
    assert "--overlay" in lumbre("render", code=2).said
    assert "NAME=VALUE" in lumbre("render", *dev, "--set", "x", code=1).said


def test_without_the_extra_it_is_said_what_to_install(catalog: Path, tmp_path: Path) -> None:
    """A module that is missing stands before the one that is installed."""
    for name, command in (("yaml", "render"), ("kubernetes", "apply")):
        folder = tmp_path / name
        folder.mkdir()
        text = f"raise ModuleNotFoundError('No module named {name}', name={name!r})"
        (folder / f"{name}.py").write_text(text)
        words = [*LUMBRE, "deploy", command, "--overlay", "dev", "--catalog", str(catalog)]
        environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            f"lumbre: {name} is not installed: pip install 'lumbre[cluster]'"
        )


# ── apply ─────────────────────────────────────────────────────────────────────────────────────


def test_everything_is_applied_and_doing_it_again_changes_nothing(
    dev: tuple[str, ...], api: ApiServer, first_apply: tuple[ApiServer, Result]
) -> None:
    first = first_apply[1]
    api.copy_of(first_apply[0])
    assert "stores: StatefulSet lumbre-postgres created" in first.out
    assert "functions: ScaledObject quick-gpu created" in first.out
    phases = [line.partition(":")[0] for line in first.out.splitlines()]
    assert list(dict.fromkeys(phases)) == [
        *("foundation", "stores", "jobs", "services", "functions")
    ]
    assert "made the Secret lumbre-broker" in first.said
    assert api.get("deployments", "quick-gpu")["spec"]["replicas"] == 0
    assert api.get("deployments", "lumbre-gateway")["spec"]["replicas"] == 1
    before = {key: found["metadata"]["resourceVersion"] for key, found in api.objects.items()}
    second = lumbre("apply", *dev)
    after = {key: found["metadata"]["resourceVersion"] for key, found in api.objects.items()}
    assert after == before
    assert " created" not in second.out and " changed" not in second.out
    assert "made the Secret" not in second.said


def test_no_password_is_printed(first_apply: tuple[ApiServer, Result]) -> None:
    server, done = first_apply
    for name in ("lumbre-broker", "lumbre-database"):
        password = server.secret(name)["password"]
        assert password not in done.out + done.said


def test_a_namespace_is_made_before_what_is_in_it_is_tried(
    dev: tuple[str, ...], api: ApiServer
) -> None:
    done = lumbre("apply", *dev, "-n", "team-a")
    assert done.out.startswith("foundation: Namespace team-a created\n")
    assert api.get("deployments", "quick-cpu", "team-a")


def test_the_gpus_of_the_nodes_are_the_most_that_functions_may_have(
    dev: tuple[str, ...], deployed: ApiServer
) -> None:
    assert deployed.get("scaledobjects", "quick-gpu")["spec"]["maxReplicaCount"] == 2
    deployed.objects["nodes", "", "node"]["status"]["allocatable"]["nvidia.com/gpu"] = "1"
    refused = lumbre("apply", *dev, code=1)
    assert "max_replicas=2 is above gpus.count=1" in refused.said
    deployed.objects["nodes", "", "node"]["status"]["allocatable"] = {}
    assert "gpus.count is 0" in lumbre("apply", *dev, code=1).said
    assert "the nodes offer 0 nvidia.com/gpu now" in lumbre("apply", *dev, "--gpus", 2).said


def test_without_keda_nothing_is_applied(dev: tuple[str, ...], api: ApiServer) -> None:
    del api.kinds["keda.sh/v1alpha1"]
    before = dict(api.objects)
    done = lumbre("apply", *dev, code=1)
    assert "KEDA is not installed: there is no TriggerAuthentication" in done.said
    assert "helm install keda" in done.said
    assert api.objects == before


def test_what_production_lacks_is_told_at_once(catalog: Path, api: ApiServer) -> None:
    done = lumbre("apply", "--overlay", "production", "--catalog", catalog, "--gpus", 4, code=1)
    assert "RabbitMQ's cluster operator is not installed" in done.said
    assert "the Prometheus operator is not installed" in done.said


def test_secrets_of_stores_elsewhere_must_be_there(dev: tuple[str, ...], api: ApiServer) -> None:
    done = lumbre("apply", *dev, "--set", "database.kind=external", code=1)
    assert "there is no Secret lumbre-database in the namespace lumbre" in done.said
    assert api.names("secrets") == []


def test_a_dry_run_changes_nothing(dev: tuple[str, ...], api: ApiServer) -> None:
    before = dict(api.objects)
    done = lumbre("apply", *dev, "--dry-run=server")
    assert "Deployment quick-gpu would be created" in done.out
    assert "Secret lumbre-broker would be created" in done.out
    assert api.objects == before
    assert "--dry-run" in lumbre("apply", *dev, "--dry-run=client", code=2).said


def test_what_is_refused_stops_it_before_anything_changes(
    dev: tuple[str, ...], deployed: ApiServer
) -> None:
    leaf = ("spec", "revisionHistoryLimit")
    deployed.set_field("deployments", "lumbre-gateway", leaf, 7, "kubectl-edit")
    deployed.denied.add(("patch", "networkpolicies"))
    before = dict(deployed.objects)
    done = lumbre("apply", *dev, code=1)
    assert ".spec.revisionHistoryLimit is owned by kubectl-edit" in done.said
    assert "may not patch networkpolicies.networking.k8s.io" in done.said
    assert deployed.objects == before
    deployed.denied.clear()
    lumbre("apply", *dev, "--force-conflicts")
    assert deployed.get("deployments", "lumbre-gateway")["spec"]["revisionHistoryLimit"] != 7


def test_it_gives_up_and_says_what_is_not_ready(dev: tuple[str, ...], api: ApiServer) -> None:
    api.healthy = False
    done = lumbre("apply", *dev, "--timeout", 0.01, code=1)
    assert "not ready after 0.01 s (--timeout" in done.said
    assert "StatefulSet lumbre-rabbitmq: its controller has not seen it yet" in done.said
    assert api.names("jobs") == []


def test_what_is_no_longer_rendered_is_told_and_deleted_on_request(
    dev: tuple[str, ...], deployed: ApiServer
) -> None:
    fewer = (*dev, "--set", "devices=[cpu]")
    told = lumbre("apply", *fewer)
    assert "ScaledObject quick-gpu: no longer rendered: --prune deletes it" in told.said
    assert "quick-gpu" in deployed.names("deployments")
    planned = lumbre("apply", *fewer, "--prune", "--dry-run=server")
    assert "Deployment quick-gpu: would be deleted" in planned.said
    pruned = lumbre("apply", *fewer, "--prune")
    assert "Deployment quick-gpu is gone" in pruned.out
    assert "quick-gpu" not in deployed.names("deployments") + deployed.names("scaledobjects")
    assert deployed.names("secrets") == ["lumbre-broker", "lumbre-database"]


def test_who_may_apply_and_not_list_can_apply(dev: tuple[str, ...], deployed: ApiServer) -> None:
    deployed.denied.add(("list", "services"))
    lumbre("apply", *dev)
    assert "may not list services" in lumbre("apply", *dev, "--prune", code=1).said


def test_who_interrupts_is_told_how_to_go_on(
    dev: tuple[str, ...], api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(autoscaler.rollout.Rollout, "apply", interrupted)
    done = lumbre("apply", *dev, code=130)
    assert "what was done stays; the same command takes it up again" in done.said


@pytest.mark.parametrize("command", ["apply", "diff", "status", "delete"])
def test_without_a_cluster_each_says_so_in_a_line(command: str, dev: tuple[str, ...]) -> None:
    flags = dev if command in ("apply", "diff") else ()
    done = lumbre(command, *flags, code=1)
    assert done.said.splitlines()[-1].startswith("lumbre: there is no kubeconfig")


# ── diff ──────────────────────────────────────────────────────────────────────────────────────


def test_diff_is_silent_where_an_apply_would_change_nothing(
    dev: tuple[str, ...], deployed: ApiServer
) -> None:
    assert lumbre("diff", *dev).out == ""


def test_diff_shows_what_an_apply_would_change_and_exits_so(
    dev: tuple[str, ...], deployed: ApiServer
) -> None:
    deployed.set_field("deployments", "quick-cpu", ("spec", "replicas"), 3, "hpa")
    changed = lumbre("diff", *dev, "--set", "images.cpu=lumbre:next", code=DIFFERS)
    assert "+++ applied/Deployment/quick-cpu" in changed.out
    assert "lumbre:next" in changed.out
    assert "replicas" not in "".join(line for line in changed.out.splitlines() if line[0] in "+-")
    gone = lumbre("diff", *dev, "--set", "devices=[cpu]", "--prune", code=DIFFERS)
    assert "+++ gone/ScaledObject/quick-gpu" in gone.out


# ── status ────────────────────────────────────────────────────────────────────────────────────


def test_status_tells_how_each_function_stands(deployed: ApiServer) -> None:
    assert "there are no functions in the namespace other" in lumbre("status", "-n", "other").said
    deployed.set_field("deployments", "quick-gpu", ("spec", "replicas"), 2, "hpa")
    table = lumbre("status").out
    assert "quick" in table and "slow" in table
    assert "2 of 2" in table and "pods are about to start" in table
    views = json.loads(lumbre("status", "--json").out)
    assert [(each["function"], each["device"]) for each in views] == [
        ("quick", "cpu"),
        ("quick", "gpu"),
        ("slow", "cpu"),
    ]
    assert views[1]["desired"] == 2 and views[2]["kind"] == "ScaledJob"


def test_status_asks_a_gateway_for_live_backlogs(deployed: ApiServer) -> None:
    depth = {"ready": 41, "unacknowledged": 1, "dead": 0}
    waiting = {"cause": "at_max", "detail": "all 4 GPU slots are in use by other functions"}
    quick = {"name": "quick", "backlog": {"gpu": depth}, "waiting": {"gpu": waiting}}
    deployed.extra["/functions"] = {"items": [quick], "next": None}
    views = json.loads(lumbre("status", "--gateway", deployed.url, "--json").out)
    assert views[1]["backlog"] == 42
    assert views[1]["waiting"] == waiting["detail"]
    assert views[0]["backlog"] is None


# ── delete ────────────────────────────────────────────────────────────────────────────────────


def test_delete_keeps_what_holds_data(dev: tuple[str, ...], deployed: ApiServer) -> None:
    assert "Say --yes" in lumbre("delete", code=1).said
    assert deployed.names("scaledobjects")
    done = lumbre("delete", "--yes")
    assert done.out.splitlines()[:3] == [
        "ScaledObject quick-cpu is gone",
        "ScaledObject quick-gpu is gone",
        "ScaledJob slow-cpu is gone",
    ]
    assert deployed.names("deployments") == ["keda-operator"]
    assert deployed.names("scaledobjects") == deployed.names("networkpolicies") == []
    assert "kept, since they hold data" in done.said
    assert deployed.names("secrets") == ["lumbre-broker", "lumbre-database"]
    assert deployed.names("persistentvolumeclaims") == ["lumbre-blobs"]
    assert deployed.names("namespaces") == ["lumbre"]
    assert "there is nothing to delete" in lumbre("delete").said


def test_delete_all_keeps_nothing(dev: tuple[str, ...], deployed: ApiServer) -> None:
    lumbre("delete", "--all", "--yes")
    assert {kind for kind, _, _ in deployed.objects} == {"nodes", "deployments"}  # and KEDA's
    assert deployed.names("deployments") == ["keda-operator"]


# ── an interrupt, for real ────────────────────────────────────────────────────────────────────


def test_an_apply_that_waits_ends_at_ctrl_c(
    dev: tuple[str, ...], api: ApiServer, tmp_path: Path
) -> None:
    import signal

    api.healthy = False
    environment = os.environ | {"PYTHONPATH": str(ROOT), "KUBECONFIG": str(tmp_path / "kubeconfig")}
    with subprocess.Popen(
        [*LUMBRE, "deploy", "apply", *dev],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            eventually(lambda: api.names("statefulsets"), within=60)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted: what was done stays" in said
    assert "Traceback" not in said


def test_a_cluster_is_closed_whatever_happens(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Cluster] = []
    close = Cluster.close

    def counted(cluster: Cluster) -> None:
        closed.append(cluster)
        close(cluster)

    monkeypatch.setattr(Cluster, "close", counted)
    lumbre("status")
    del api.kinds["keda.sh/v1alpha1"]
    lumbre("status", code=1)
    assert len(closed) == 2
