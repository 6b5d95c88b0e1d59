"""A kubelet for control planes without a container runtime: pods are processes of this machine.

It registers two nodes, one of them with GPUs that nobody but the scheduler sees, gives each pod an
address of a network of its own on the loopback device, and runs it as `podrun` and `sandbox` say.
Where no scheduler is, it binds pods itself, to a node whose taints they tolerate and whose labels
they ask for; and it gives each unbound claim a volume.  Not here: images, Services (nobody
forwards, so no name of one leads anywhere), NetworkPolicies, logs and exec by the API, limits.
"""

import ipaddress
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.api import STRATEGIC, Api, Object, Refused
from tests.cluster.containerrun import now
from tests.cluster.podrun import PodRun

NETWORK = ipaddress.ip_network("10.99.0.0/16")  # on `lo`: nobody outside this machine reaches it
TICK = 0.3  # seconds between two looks at the pods
HEARTBEAT = 10.0  # seconds
UNSEEN = 3.0  # seconds after which a pod that no scheduler has looked at is bound here
GPU = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is said to be there, and how much it is said to have."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    taints: Sequence[Object] = ()
    capacity: dict[str, str] = field(default_factory=dict)

    def suits(self, pod: Object) -> bool:
        """Whether the pod may run here, by nodeSelector, required affinity and NoSchedule."""
        spec = pod["spec"]
        wanted = spec.get("affinity", {}).get("nodeAffinity", {})
        terms = wanted.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        anywhere = not terms or any(
            all(self._matches(rule) for rule in term.get("matchExpressions", []))
            for term in terms["nodeSelectorTerms"]
        )
        chosen = spec.get("nodeSelector", {}).items() <= self.labels.items()
        tolerated = {entry.get("key") for entry in spec.get("tolerations", [])}
        return anywhere and chosen and all(taint["key"] in tolerated for taint in self.taints)

    def _matches(self, rule: Object) -> bool:
        value = self.labels.get(rule["key"])
        if rule["operator"] == "Exists":
            return value is not None
        return rule["operator"] == "In" and value in rule["values"]


ROOM = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"}
NODES = (
    Node("stand-in-cpu", capacity=ROOM),
    Node(
        "stand-in-gpu",
        labels={f"{GPU}.present": "true"},
        taints=({"key": GPU, "effect": "NoSchedule"},),
        capacity=ROOM | {GPU: "4"},
    ),
)


class Kubelet:
    """Runs the pods of one namespace until it is closed; `folder` keeps their logs.

    `image` holds the files that lie over this machine's, such as app/functions; `entrypoint` is
    what a container without `command` runs.
    """

    def __init__(
        self, api: Api, namespace: str, folder: Path, image: Path, entrypoint: tuple[str, ...]
    ) -> None:
        self._api, self._namespace, self._folder = api, namespace, folder
        self._image, self._entrypoint = image, entrypoint
        self._pods: dict[str, PodRun] = {}
        self._volumes: set[str] = set()
        self._addresses = NETWORK.hosts()
        self._leave = threading.Event()
        self._beat = 0.0
        _address_all()
        next(self._addresses)  # the machine's own
        for node in NODES:
            self._register(node)
        self._thread = threading.Thread(target=self._run, name="kubelet")
        self._thread.start()

    def close(self) -> None:
        """End every pod at once, and take the nodes and volumes away."""
        self._leave.set()
        self._thread.join()
        for run in self._pods.values():
            run.end(0)
        for run in self._pods.values():
            run.join()
        for node in NODES:
            self._api.delete(f"/api/v1/nodes/{node.name}")
        for volume in self._volumes:
            self._api.delete(f"/api/v1/persistentvolumes/{volume}")

    def _run(self) -> None:
        while not self._leave.wait(TICK):
            try:
                self._look()
            except (Refused, OSError) as error:
                print(f"kubelet: {error}", flush=True)  # the API server is away; look again

    def _look(self) -> None:
        if time.monotonic() - self._beat > HEARTBEAT:
            for node in NODES:
                self._report(node)
            self._beat = time.monotonic()
        for claim in self._api.items(
            f"/api/v1/namespaces/{self._namespace}/persistentvolumeclaims"
        ):
            if not claim["spec"].get("volumeName"):
                self._give_volume(claim)
        for pod in self._api.items(f"/api/v1/namespaces/{self._namespace}/pods"):
            self._take(pod)

    def _take(self, pod: Object) -> None:
        uid, spec = pod["metadata"]["uid"], pod["spec"]
        run = self._pods.get(uid)
        going = "deletionTimestamp" in pod["metadata"]
        if run is not None:
            if going:
                run.end(float(pod["metadata"].get("deletionGracePeriodSeconds", 0)))
        elif "nodeName" not in spec:
            if not going and not pod["status"].get("conditions"):
                self._bind(pod)
        elif spec["nodeName"] in {node.name for node in NODES} and (
            pod["status"].get("phase") not in ("Succeeded", "Failed")
        ):
            self._start(pod)

    def _start(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self._pods[pod["metadata"]["uid"]] = PodRun(
            self._api,
            pod,
            str(next(self._addresses)),
            self._folder / name,
            self._folder / "claims",
            self._image,
            self._entrypoint,
        )

    def _bind(self, pod: Object) -> None:
        """Bind a pod that no scheduler has looked at."""
        if _age(pod) < UNSEEN:
            return
        node = next((node for node in NODES if node.suits(pod)), None)
        if node is not None:
            name = pod["metadata"]["name"]
            target = {"apiVersion": "v1", "kind": "Node", "name": node.name}
            body = {"metadata": {"name": name}, "target": target}
            self._api.create(f"/api/v1/namespaces/{self._namespace}/pods/{name}/binding", body)

    # ── nodes and volumes ─────────────────────────────────────────────────────────────────────

    def _register(self, node: Node) -> None:
        self._api.delete(f"/api/v1/nodes/{node.name}")
        labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"} | node.labels
        body = {"metadata": {"name": node.name, "labels": labels}}
        self._api.create("/api/v1/nodes", body)
        # The API server has added the taint of nodes that are not ready.
        self._api.patch(f"/api/v1/nodes/{node.name}", {"spec": {"taints": list(node.taints)}})

    def _report(self, node: Node) -> None:
        condition = {"type": "Ready", "status": "True", "reason": "StandIn"}
        condition |= {"lastHeartbeatTime": now(), "message": "pods are processes"}
        status = {"capacity": node.capacity, "allocatable": node.capacity}
        body = {"status": status | {"conditions": [condition]}}
        self._api.patch(f"/api/v1/nodes/{node.name}/status", body, STRATEGIC)

    def _give_volume(self, claim: Object) -> None:
        """A volume for a claim, which Kubernetes' controller binds the two by."""
        metadata, spec = claim["metadata"], claim["spec"]
        name = f"stand-in-{metadata['uid']}"
        volume = {
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "storageClassName": spec.get("storageClassName", ""),
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(self._folder / "claims" / metadata["name"])},
                "claimRef": {key: metadata[key] for key in ("name", "namespace", "uid")},
            },
        }
        self._volumes.add(name)
        try:
            self._api.create("/api/v1/persistentvolumes", volume)
        except Refused as refused:
            if refused.status != 409:  # it is there already, and not bound yet
                raise


def _age(pod: Object) -> float:
    """Seconds since the pod was made."""
    made = time.strptime(pod["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
    return time.mktime(time.gmtime()) - time.mktime(made)


def _address_all() -> None:
    """Let every address of the network be this machine's: one on `lo` makes all of them that."""
    ip = shutil.which("ip") or "/sbin/ip"
    first = f"{next(NETWORK.hosts())}/{NETWORK.prefixlen}"
    shown = subprocess.run([ip, "addr", "show", "lo"], capture_output=True, text=True, check=True)
    if first not in shown.stdout:
        subprocess.run([ip, "addr", "add", first, "dev", "lo"], check=True)
