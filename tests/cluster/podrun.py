"""One pod as local processes: its containers' starts and ends, and its status.

What a kubelet does with restartPolicy, init containers, HTTP and TCP probes, preStop sleeps,
terminationGracePeriodSeconds and back-off; not: exec probes and hooks, sidecars, post-start hooks.
"""

import threading
import time
from pathlib import Path

from tests.cluster.api import Api, Object, Refused
from tests.cluster.containerrun import GRACE, TICK, ContainerRun, now
from tests.cluster.provision import Provision
from tests.cluster.sandbox import Container, Sandbox


class PodRun:
    """One pod from its start to its end, in a thread of its own."""

    def __init__(
        self, api: Api, pod: Object, address: str, folder: Path, claims: Path, image: Path,
        entrypoint: tuple[str, ...],
    ) -> None:  # fmt: skip
        self._api, self._pod, self._address = api, pod, address
        self._folder, self._image, self._entrypoint = folder, image, entrypoint
        self._provision = Provision(api, pod, address, folder / "volumes", claims)
        self._path = "/api/v1/namespaces/{namespace}/pods/{name}".format(**pod["metadata"])
        self._init = [self._running(spec) for spec in pod["spec"].get("initContainers", [])]
        self._containers = [self._running(spec) for spec in pod["spec"]["containers"]]
        self._leave = threading.Event()  # it shall end
        self._grace = float(pod["spec"].get("terminationGracePeriodSeconds", GRACE))
        self._told: Object = {}
        self._since: dict[str, tuple[bool, str]] = {}  # per condition: its value, and since when
        self._began = now()
        self._thread = threading.Thread(target=self._run, name=pod["metadata"]["name"])
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def end(self, grace: float | None = None) -> None:
        """Let it end as a deleted pod does, within `grace` seconds or as long as it may take."""
        if grace is not None:
            self._grace = grace
        self._leave.set()

    def join(self) -> None:
        self._thread.join()

    def _running(self, spec: Object) -> ContainerRun:
        return ContainerRun(spec, self._sandbox, self._address)

    def _sandbox(self, spec: Object) -> Sandbox:
        command = spec.get("command") or self._entrypoint
        container = Container(
            command=[*command, *spec.get("args", [])],
            environment=self._provision.environment(spec),
            hostname=self._pod["metadata"]["name"],
            workdir=spec.get("workingDir", "/app"),
            user=spec.get("securityContext", {}).get("runAsUser", self._provision.user),
            image=self._image,
            mounts=self._provision.mounts(spec),
        )
        return Sandbox(container, self._folder / spec["name"], self._folder / f"{spec['name']}.log")

    def _run(self) -> None:
        try:
            if all(self._initialised(container) for container in self._init):
                self._serve()
            self._end_containers()
        finally:
            for container in (*self._init, *self._containers):
                container.end(0)
        self._tell()
        if self._leave.is_set():
            uid = self._pod["metadata"]["uid"]
            self._forget({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})

    def _initialised(self, container: ContainerRun) -> bool:
        """Whether an init container ended well; False where the pod shall end."""
        never = self._pod["spec"].get("restartPolicy") == "Never"
        container.start()
        while not self._leave.wait(TICK):
            container.look(lambda code: code != 0 and not never)
            self._tell()
            if container.ended:
                return container.code == 0
        return False

    def _serve(self) -> None:
        """Run the containers until all ended for good or the pod shall end."""
        policy = self._pod["spec"].get("restartPolicy", "Always")

        def restart(code: int) -> bool:
            return policy == "Always" or (policy == "OnFailure" and code != 0)

        for container in self._containers:
            container.start()
        while not self._leave.is_set():
            for container in self._containers:
                container.look(restart)
            self._tell()
            if all(c.ended and not restart(c.code) for c in self._containers):
                return
            self._leave.wait(TICK)

    def _end_containers(self) -> None:
        deadline = time.monotonic() + self._grace
        for container in self._containers:
            if container.sandbox is not None:
                hook = container.spec.get("lifecycle", {}).get("preStop", {}).get("sleep")
                time.sleep(min(self._grace, hook["seconds"]) if hook else 0)
                container.end(max(0.0, deadline - time.monotonic()))

    # ── status ────────────────────────────────────────────────────────────────────────────────

    def _phase(self) -> str:
        if any(c.ended and c.code for c in self._init) and not any(
            "running" in c.state for c in self._containers
        ):
            return "Pending" if self._thread.is_alive() and not self._leave.is_set() else "Failed"
        if all(c.ended for c in self._containers):
            return "Failed" if any(c.code for c in self._containers) else "Succeeded"
        begun = any("running" in c.state or c.restarts for c in self._containers)
        return "Running" if begun else "Pending"

    def _conditions(self) -> list[Object]:
        ready = all(c.ready for c in self._containers)
        initialised = all(c.ended and c.code == 0 for c in self._init)
        values = {"PodScheduled": True, "Initialized": initialised}
        values |= {"ContainersReady": ready, "Ready": ready}
        for kind, value in values.items():
            if self._since.get(kind, (None,))[0] != value:
                self._since[kind] = (value, now())
        return [
            {"type": kind, "status": str(value), "lastTransitionTime": since}
            for kind, (value, since) in self._since.items()
        ]

    def _tell(self) -> None:
        """Write the pod's status where it is another than before."""
        status: Object = {
            "phase": self._phase(),
            "conditions": self._conditions(),
            "hostIP": self._address,
            "podIP": self._address,
            "podIPs": [{"ip": self._address}],
            "startTime": self._began,
            "initContainerStatuses": [container.status() for container in self._init],
            "containerStatuses": [container.status() for container in self._containers],
        }
        if status != self._told:
            try:
                self._api.patch(f"{self._path}/status", {"status": status})
            except Refused as refused:
                if refused.status != 404:  # not because the pod is gone
                    return  # to be told at the next look
            self._told = status

    def _forget(self, options: Object) -> None:
        try:
            self._api.delete(self._path, options)
        except Refused as refused:
            if refused.status != 409:  # another pod has its name by now
                raise
