"""Waiting for objects of a cluster to be ready, and telling what they wait for themselves.

No wait is without an end, and one that ends in vain says of each object what keeps it: a pod that
no node has room for, an image that is not there, a container that ends again and again.
"""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from autoscaler.cluster import Cluster
from autoscaler.identity import Identity, Object
from autoscaler.readiness import Readiness, first, readiness, selector_of, troubles
from autoscaler.refusal import ClusterError, Denied, Unreachable

LOG_LINES = 15  # of a Job that failed, that are shown


class Progress(Protocol):
    """Who is told how it goes."""

    def step(self, text: str) -> None:
        """Something is done."""

    def waiting(self, text: str) -> None:
        """What is waited for now, and why; the next such text takes its place."""


class Lookout:
    """Waits for objects, `timeout` seconds in all from when it was made."""

    def __init__(
        self,
        cluster: Cluster,
        progress: Progress,
        timeout: float,
        interval: float,
        clock: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._progress = progress
        self._timeout = timeout
        self._interval = interval
        self._clock = clock
        self._deadline = clock() + timeout

    def wait(self, phase: str, objects: Iterable[Identity]) -> None:
        """Until all are ready; raises ClusterError with what each that is not waits for."""
        left = dict.fromkeys(objects, "")
        while left:
            self._look_again(phase, left)
            if not left:
                break
            told = [f"{identity} ({why})" for identity, why in left.items()]
            self._progress.waiting(f"{phase}: waiting for {first(told)}")
            if self._clock() >= self._deadline:
                raise ClusterError(self._too_late(left))
            time.sleep(self._interval)

    def _look_again(self, phase: str, left: dict[Identity, str]) -> None:
        for identity in list(left):
            try:
                found = self._cluster.get(identity)
                now = readiness(found) if found else Readiness(False, "somebody deleted it", True)
                why = now.why if now.done or not found else self._explained(found, now)
            except Unreachable as error:  # a control plane of one node that restarts
                left[identity] = str(error)
                continue
            if now.failed:
                raise ClusterError(f"{identity} failed: {why}{self._log(identity)}")
            if now.done:
                if left.pop(identity):  # it was waited for
                    self._progress.step(f"{phase}: {identity} is ready")
            else:
                left[identity] = why

    def _explained(self, found: Object, now: Readiness) -> str:
        """Why it is not ready, and what its pods, or the warnings about it, say of that."""
        try:
            said = troubles(self._pods(found))
            if not said and found["kind"] in ("Job", "StatefulSet"):  # pods that are not even made
                events = self._cluster.events(found["metadata"]["name"])
                said = [each["message"] for each in events if each.get("type") == "Warning"][-1:]
        except Denied:
            said = []
        return "; ".join([now.why, *said[:2]])

    def _pods(self, found: Object) -> list[Object]:
        selector = selector_of(found)
        return self._cluster.all("v1", "Pod", selector) if selector else []

    def _log(self, identity: Identity) -> str:
        """The last lines of a Job's last pod, indented; nothing where there are none."""
        if identity.kind != "Job":
            return ""
        try:
            pods = self._cluster.all("v1", "Pod", f"batch.kubernetes.io/job-name={identity.name}")
            made = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
            text = self._cluster.logs(made[-1]["metadata"]["name"], LOG_LINES) if made else ""
        except ClusterError:  # it is gone with its node; why the Job failed is told without it
            return ""
        return "".join(f"\n  | {line}" for line in text.splitlines())

    def _too_late(self, left: dict[Identity, str]) -> str:
        lines = [f"\n  {identity}: {why}" for identity, why in left.items()]
        return (
            f"not ready after {self._timeout:g} s (--timeout gives it longer; what was applied"
            f" stays):{''.join(lines)}"
        )
