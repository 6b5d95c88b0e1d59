"""One container of a pod, from its first start to its last end."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from loadtest.servers.guarded import ServerError
from tests.cluster.api import Object, Refused
from tests.cluster.probe import Probe
from tests.cluster.provision import NotProvided
from tests.cluster.sandbox import Sandbox

TICK = 0.1  # seconds between two looks at a process
BACKOFF = (1.0, 30.0)  # seconds before a restart: the first, and the longest
GRACE = 30  # seconds, where a pod says none


def now() -> str:
    """This moment as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ContainerRun:
    """One container of a pod, through all its restarts."""

    def __init__(self, spec: Object, make: Callable[[Object], Sandbox], address: str) -> None:
        self.spec, self._make, self._address = spec, make, address
        self.sandbox: Sandbox | None = None
        self.restarts = 0
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last: Object = {}
        self._started = ""
        self._again = 0.0
        self._probes: dict[str, Probe] = {}

    @property
    def ended(self) -> bool:
        return "terminated" in self.state

    @property
    def code(self) -> int:
        return int(self.state["terminated"]["exitCode"])

    @property
    def started(self) -> bool:
        startup = self._probes.get("startupProbe")
        return "running" in self.state and (startup is None or startup.passing)

    @property
    def ready(self) -> bool:
        readiness = self._probes.get("readinessProbe")
        return self.started and (readiness is None or readiness.passing)

    def start(self) -> None:
        """Start its process; what it lacks shows in its state."""
        try:
            self.sandbox = self._make(self.spec)
        except (NotProvided, ServerError, Refused) as error:
            self.state = {
                "waiting": {"reason": "CreateContainerConfigError", "message": f"{error}"}
            }
            self._again = time.monotonic() + BACKOFF[0]
            return
        self._started = now()
        self.state = {"running": {"startedAt": self._started}}
        ports = {port.get("name", ""): port["containerPort"] for port in self.spec.get("ports", [])}
        self._probes = {
            kind: Probe(self.spec[kind], self._address, ports, time.monotonic())
            for kind in ("startupProbe", "readinessProbe", "livenessProbe")
            if kind in self.spec
        }

    def look(self, restart: Callable[[int], bool]) -> None:
        """Notice its end, probe it, start it again where `restart` of its exit code says so."""
        if self.sandbox is not None and self.sandbox.exit_code is not None:
            self._end(self.sandbox.exit_code)
        if self.sandbox is not None:
            self._probe()
        elif "waiting" in self.state and time.monotonic() >= self._again:
            self.start()
        elif self.ended and restart(self.code):
            self.restarts += 1
            self.last = self.state
            self.state = {"waiting": {"reason": "CrashLoopBackOff"}}
            pause = min(BACKOFF[1], BACKOFF[0] * 2 ** (self.restarts - 1))
            self._again = time.monotonic() + pause

    def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL where it is still there after `grace` seconds."""
        if self.sandbox is None:
            return
        self.sandbox.stop()
        deadline = time.monotonic() + grace
        while self.sandbox.exit_code is None and time.monotonic() < deadline:
            time.sleep(TICK)
        if self.sandbox.exit_code is None:
            self.sandbox.kill()
        self._end(self.sandbox.exit_code or 0)

    def _probe(self) -> None:
        startup = self._probes.get("startupProbe")
        if startup is not None and not startup.passing:
            startup.look()
        elif "readinessProbe" in self._probes:
            self._probes["readinessProbe"].look()
        if self.started and "livenessProbe" in self._probes:
            self._probes["livenessProbe"].look()
        for kind in ("startupProbe", "livenessProbe"):
            probe = self._probes.get(kind)
            if probe is not None and probe.failing:
                self.end(probe.spec.get("terminationGracePeriodSeconds", GRACE))

    def _end(self, code: int) -> None:
        reason = "Completed" if code == 0 else "Error"
        times = {"startedAt": self._started, "finishedAt": now()}
        self.state = {"terminated": {"exitCode": code, "reason": reason, **times}}
        self.sandbox, self._probes = None, {}

    def status(self) -> Object:
        """Its entry among the pod's containerStatuses."""
        return {
            "name": self.spec["name"],
            "image": self.spec["image"],
            "imageID": "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last,
        }
