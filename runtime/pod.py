"""The Kubernetes pod that a worker is in, and how much its deletion would cost.

When a Deployment is scaled in, the ReplicaSet controller takes the pods of the lowest
`controller.kubernetes.io/pod-deletion-cost` first (Kubernetes ≥ 1.22: Workloads, ReplicaSet, "Pod
deletion cost"), so idle workers go and busy ones stay.  The page warns of updating it often: each
is a write to the API server.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from runtime.errors import ConfigurationError

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
BUSY_COST = "1000"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LOOK_EVERY = 1.0  # seconds between two looks at what runs
LONG = 2.0  # seconds; work that is shorter has ended before anybody can act on it
BETWEEN = 10.0  # seconds between two writes
LONGEST_PAUSE = 300.0  # seconds until a write that fails is tried again
TIMEOUT = 5.0  # seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pod:
    """Which pod this is, and where its cluster's API server is."""

    name: str
    namespace: str
    api: str  # URL
    account: Path = ACCOUNT  # token and ca.crt, as Kubernetes mounts them

    @property
    def url(self) -> str:
        return f"{self.api}/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def find_pod(environment: Mapping[str, str], account: Path = ACCOUNT) -> Pod | None:
    """The pod whose deletion cost is to be told; None where LUMBRE_POD_DELETION_COST is not 1.

    These are facts that a manifest hands to its pod, and no settings; ConfigurationError names
    those that are missing.
    """
    if environment.get("LUMBRE_POD_DELETION_COST", "") in ("", "0"):
        return None
    names = ("LUMBRE_POD_NAME", "LUMBRE_POD_NAMESPACE", "KUBERNETES_SERVICE_HOST")
    if missing := [name for name in names if not environment.get(name)]:
        raise ConfigurationError(
            f"LUMBRE_POD_DELETION_COST is set, and {', '.join(missing)} is not: a pod has the first"
            " two by fieldRef (metadata.name, metadata.namespace), and Kubernetes sets the third"
        )
    pod, namespace, host = (environment[name] for name in names)
    host = f"[{host}]" if ":" in host else host
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    return Pod(pod, namespace, f"https://{host}:{port}", account)


@dataclass(slots=True)
class Cost:
    """Decides what is to be written, and when; times are monotonic seconds."""

    told: bool = False  # that it is busy
    _idle_since: float | None = None
    _not_before: float = 0.0
    _failures: int = 0

    def due(self, now: float, busy_for: float | None) -> bool | None:
        """Whether to tell that it is busy (True) or no more (False) now; None for neither.

        `busy_for` is how long the longest invocation has run, None where none does.
        """
        if busy_for is not None:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        idle = self._idle_since is not None and now - self._idle_since >= LONG
        wanted = (self.told and not idle) or (busy_for or 0.0) >= LONG
        return wanted if wanted != self.told and now >= self._not_before else None

    def wrote(self, now: float, busy: bool) -> None:
        self.told, self._failures, self._not_before = busy, 0, now + BETWEEN

    def failed(self, now: float) -> bool:
        """It could not be written; True for the first time in a row."""
        self._not_before = now + min(LONGEST_PAUSE, BETWEEN * 2**self._failures)
        self._failures += 1
        return self._failures == 1


class DeletionCost:
    """Keeps the annotation of a pod: BUSY_COST while something long runs, else none."""

    def __init__(self, pod: Pod, busy_for: Callable[[], float | None]) -> None:
        self._pod = pod
        self._busy_for = busy_for
        self._cost = Cost()

    async def run(self) -> None:
        """Look and write until this is cancelled; no work ever waits for it."""
        while True:
            await self.look(time.monotonic())
            await asyncio.sleep(LOOK_EVERY)

    async def look(self, now: float) -> None:
        """Write what is due at `now` (monotonic seconds), if anything is."""
        busy = self._cost.due(now, self._busy_for())
        if busy is None:
            return
        try:
            await self._write(busy)
        except (httpx.HTTPError, OSError) as error:
            if self._cost.failed(now):
                log.warning(
                    "pod=%s its deletion cost cannot be told (%s): scaling in may take it while it"
                    " is busy; trying on",
                    self._pod.name,
                    _reason(error),
                )
        else:
            self._cost.wrote(now, busy)

    async def _write(self, busy: bool) -> None:
        """PATCH the pod (RFC 7396, JSON merge patch: null removes a member)."""
        value = BUSY_COST if busy else None
        headers = {"Content-Type": "application/merge-patch+json"}
        # Both files are renewed from time to time, and this is rare: read them each time.
        token = await asyncio.to_thread((self._pod.account / "token").read_text)
        headers["Authorization"] = f"Bearer {token.strip()}"
        trust = await asyncio.to_thread(self._trust)
        async with httpx.AsyncClient(verify=trust, timeout=TIMEOUT, trust_env=False) as client:
            answer = await client.patch(
                self._pod.url,
                params={"fieldManager": "lumbre-worker"},
                json={"metadata": {"annotations": {ANNOTATION: value}}},
                headers=headers,
            )
            answer.raise_for_status()

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._pod.account / "ca.crt")


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        told = error.response.status_code
        return f"HTTP {told}" + (": its Role lacks patch on pods" if told == 403 else "")
    return str(error) or type(error).__name__
