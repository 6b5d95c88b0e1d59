"""Lumbre on a cluster, as a test applies it, calls it and looks at it."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.api import Api, Object
from tests.support import ROOT, eventually

FUNCTIONS = Path(__file__).parent / "functions"
APPLY_LIMIT = 300  # seconds, of an apply
COMMAND_LIMIT = 400.0  # seconds, of any command
RUNNING = (
    ("api/v1", "pods"),
    ("apis/apps/v1", "deployments"),
    ("apis/apps/v1", "statefulsets"),
    ("apis/batch/v1", "jobs"),
    ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    ("apis/keda.sh/v1alpha1", "scaledobjects"),
    ("apis/keda.sh/v1alpha1", "scaledjobs"),
)
ENDED = ("succeeded", "failed", "timed_out", "cancelled", "dead")


@dataclass(frozen=True, slots=True)
class Deployed:
    """One namespace with Lumbre in it; `values` is the file of values it is applied with."""

    api: Api
    namespace: str
    kubeconfig: str
    values: Path
    client: httpx.Client

    # ── the command ───────────────────────────────────────────────────────────────────────────

    def apply(self) -> None:
        """`lumbre deploy apply` again, with the values of the first time."""
        apply(self.kubeconfig, self.values)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`lumbre deploy WORDS…` for this namespace; fails the test with what it said."""
        return deploy(self.kubeconfig, *words, "--namespace", self.namespace)

    # ── calls ─────────────────────────────────────────────────────────────────────────────────

    def submit(self, function: str, seconds: float) -> str:
        """Have a function run that long; the id of the invocation, which is accepted."""
        answer = self.client.post(
            f"/invoke/{function}", json={"seconds": seconds}, headers={"Prefer": "respond-async"}
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def record(self, id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/invocations/{id}").raise_for_status().json())

    def running(self, ids: Sequence[str]) -> list[str]:
        """Those of the invocations that run now."""
        return [id for id in ids if self.record(id)["status"] == "running"]

    def outcomes(self, ids: Sequence[str], within: float) -> list[dict[str, Any]]:
        """The results of invocations, all of which succeed within so many seconds."""
        left = list(ids)
        deadline = time.monotonic() + within
        while left := [id for id in left if self.record(id)["status"] not in ENDED]:
            assert time.monotonic() < deadline, [self.record(id)["status"] for id in ids]
            time.sleep(0.5)
        records = [self.record(id) for id in ids]
        assert [r["status"] for r in records] == ["succeeded"] * len(ids), records
        return [self.client.get(f"/invocations/{id}/result").json() for id in ids]

    # ── the cluster ───────────────────────────────────────────────────────────────────────────

    def get(self, resource: str, name: str = "", group: str = "api/v1") -> Object:
        """An object of the namespace, or the list of a kind; fails where there is none."""
        path = f"/{group}/namespaces/{self.namespace}/{resource}"
        found = self.api.get(f"{path}/{name}" if name else path)
        assert found is not None, f"no {resource}/{name}"
        return found

    def deployment(self, name: str) -> Object:
        return self.get("deployments", name, "apis/apps/v1")

    def replicas(self, name: str) -> int:
        """How many replicas the autoscaler wants of a Deployment."""
        return int(self.deployment(name)["spec"].get("replicas", 1))

    def ready(self, name: str) -> int:
        return int(self.deployment(name)["status"].get("readyReplicas", 0))

    def pods(self, function: str) -> list[Object]:
        """The pods of a function's workers, whatever their state."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return self.api.items(path, labelSelector=f"lumbre.dev/function={function}")

    def staying(self, function: str) -> list[Object]:
        """Those of them that nobody has deleted."""
        return [pod for pod in self.pods(function) if "deletionTimestamp" not in pod["metadata"]]

    def objects(self) -> list[tuple[str, Object]]:
        """What runs in the namespace, or makes something run there, by kind."""
        found = []
        for group, resource in RUNNING:
            path = f"/{group}/namespaces/{self.namespace}/{resource}"
            found += [(resource, item) for item in self.api.items(path)]
        return found

    def rest(self, name: str, within: float = 150) -> None:
        """Wait until a Deployment is at zero, pods and all."""
        function = name.rpartition("-")[0].replace("-", "_")
        eventually(lambda: not self.replicas(name) and not self.pods(function), within, 0.5)


def apply(kubeconfig: str, values: Path) -> None:
    """`lumbre deploy apply` of the functions here, with the overlay `dev` and a file of values."""
    deploy(
        kubeconfig,
        "apply",
        str(FUNCTIONS),
        "--overlay",
        "dev",
        "--values",
        str(values),
        "--timeout",
        str(APPLY_LIMIT),
    )


def deploy(kubeconfig: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`lumbre deploy WORDS…`; fails the test with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "deploy", *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "KUBECONFIG": kubeconfig},
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT,
    )
    assert done.returncode == 0, f"{json.dumps(words)}: {done.stdout}\n{done.stderr}"
    return done
