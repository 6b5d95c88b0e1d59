"""Objects deleted from a cluster, each only when what needs it is gone.

Deleting a Deployment lets its pods finish what they run, so it may take as long as their grace
period.
"""

import time
from collections.abc import Callable, Sequence
from itertools import groupby

from autoscaler.cluster import Cluster
from autoscaler.identity import Identity, Object
from autoscaler.inventory import wave
from autoscaler.lookout import Progress
from autoscaler.readiness import first, selector_of
from autoscaler.refusal import ClusterError, Denied, Unreachable

MARGIN = 120.0  # seconds beyond the longest grace period, unless a time is given


def remove(
    cluster: Cluster,
    objects: Sequence[Object],
    progress: Progress,
    *,
    timeout: float | None = None,
    interval: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Delete objects, wave by wave, and wait until each is gone; raises ClusterError if not."""
    patience = patience_for(objects) if timeout is None else timeout
    deadline = clock() + patience
    for _, together in groupby(sorted(objects, key=wave), key=wave):
        left = {cluster.identify(each): each for each in together}
        for identity in left:
            cluster.delete(identity)
        while left:
            for identity in [each for each in left if _is_gone(cluster, each)]:
                progress.step(f"{identity} is gone")
                del left[identity]
            if not left:
                break
            told = [f"{identity} ({_why(cluster, each)})" for identity, each in left.items()]
            progress.waiting(f"waiting for {first(told)}")
            if clock() >= deadline:
                lines = "".join(f"\n  {each}" for each in told)
                raise ClusterError(f"not gone after {patience:g} s (see --timeout):{lines}")
            time.sleep(interval)


def patience_for(objects: Sequence[Object]) -> float:
    """Seconds in which these should be gone: their pods' longest grace period, and some more."""
    graces = [_pod_spec(each).get("terminationGracePeriodSeconds", 30) for each in objects]
    return max(graces, default=0) + MARGIN


def _is_gone(cluster: Cluster, identity: Identity) -> bool:
    try:
        return cluster.get(identity) is None
    except Unreachable:  # a control plane that restarts
        return False


def _why(cluster: Cluster, found: Object) -> str:
    """What an object waits for that is to be deleted: its pods, or who has to clean up after it."""
    try:
        now = cluster.get(cluster.identify(found)) or found
        selector = selector_of(found)
        pods = cluster.all("v1", "Pod", selector) if selector else []
    except (Denied, Unreachable) as error:
        return str(error)
    if pods:
        return f"{len(pods)} pods finish what they run"
    waits = [each for each in now["metadata"].get("finalizers") or () if "/" in each or "." in each]
    if any("keda" in each for each in waits):
        return "waits for KEDA's operator to release it"
    return f"waits for {', '.join(waits)}" if waits else "it is being deleted"


def _pod_spec(found: Object) -> Object:
    spec = found.get("spec") or {}
    template = (spec.get("jobTargetRef") or spec).get("template") or {}
    return dict(template.get("spec") or {})
