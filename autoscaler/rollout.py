"""Objects applied to a cluster phase by phase, each phase ready before the next begins.

Server-side apply says only what the values say: fields that the cluster or others set stay theirs.
Everything is tried first, as a dry run, so that what would be refused changes nothing.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from autoscaler.cluster import Cluster
from autoscaler.drift import content
from autoscaler.identity import Identity, Object
from autoscaler.lookout import Lookout, Progress
from autoscaler.readiness import is_waited_for, is_worker, readiness
from autoscaler.refusal import Absent, ClusterError, Denied, Owned, Refused

CREATOR = "lumbre-create"  # the field manager of a worker Deployment's first count
SHARED = (
    *("Namespace", "PriorityClass"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
)
SAME = "unchanged"
LEFT = "stays as it is: this account may not change it"  # what is the whole cluster's
DELETING = 120.0  # seconds for a Job that failed to be gone

Phases = Mapping[str, Sequence[Object]]


class Rollout:
    """Applies objects to a cluster, and waits for them `timeout` seconds in all."""

    def __init__(
        self,
        cluster: Cluster,
        progress: Progress,
        *,
        timeout: float,
        force: bool = False,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._progress = progress
        self._force = force
        self._interval = interval
        self._clock = clock
        self._lookout = Lookout(cluster, progress, timeout, interval, clock)

    def try_out(self, objects: Iterable[Object]) -> dict[Identity, str]:
        """What applying would do to each object: "created", "changed" or "unchanged".

        Nothing is stored.  Objects of a namespace that is not there yet cannot be tried, and are
        "created".  Raises one ClusterError that tells all that would be refused.
        """
        found: dict[Identity, str] = {}
        faults: list[str] = []
        there: dict[str, bool] = {}
        for wanted in objects:
            identity = self._cluster.identify(wanted)
            if not self._has_namespace(identity.namespace, there):
                found[identity] = "created"
                continue
            try:
                found[identity] = self._try(wanted, identity)
            except (Owned, Refused, Denied, Absent) as error:
                faults.append(str(error))
        if faults:
            raise ClusterError("\n  ".join(dict.fromkeys(faults)))
        return found

    def apply(self, phases: Phases) -> None:
        """Apply everything, in order; raises ClusterError where it fails or takes too long."""
        for name, objects in phases.items():
            same, waited = 0, []
            for wanted in namespace_first(objects):
                identity = self._cluster.identify(wanted)
                how = self._apply(wanted, identity)
                if how == SAME:
                    same += 1
                else:
                    self._progress.step(f"{name}: {identity} {how}")
                if is_waited_for(wanted) and how != LEFT:
                    waited.append(identity)
            if same:
                self._progress.step(f"{name}: {same} of {len(objects)} unchanged")
            self._lookout.wait(name, waited)

    # ── one object ────────────────────────────────────────────────────────────────────────────

    def _has_namespace(self, namespace: str, known: dict[str, bool]) -> bool:
        if not namespace:
            return True
        if namespace not in known:
            identity = Identity("v1", "Namespace", namespace)
            try:
                found = self._cluster.get(identity)
            except Denied:  # of those who may only work within it
                found = {}
            known[namespace] = found is not None
        return known[namespace]

    def _try(self, wanted: Object, identity: Identity) -> str:
        before = self._before(wanted, identity)
        after = self._send(wanted, dry_run=True)
        return SAME if after is None else _what_happened(before, after)

    def _apply(self, wanted: Object, identity: Identity) -> str:
        before = self._before(wanted, identity)
        if before is not None:
            before = self._without_failed_job(before, identity)
        if before is None and is_worker(wanted):
            self._create_at_zero(wanted)
            return "created"
        after = self._send(wanted)
        return LEFT if after is None else _what_happened(before, after)

    def _before(self, wanted: Object, identity: Identity) -> Object | None:
        try:
            return self._cluster.get(identity)
        except Denied:
            if not _is_shared(wanted):
                raise
            return None

    def _send(self, wanted: Object, *, dry_run: bool = False) -> Object | None:
        """Apply an object; None where it is the whole cluster's, there, and not ours to change."""
        try:
            return self._cluster.apply(wanted, force=self._force, dry_run=dry_run)
        except Owned as error:
            # Left behind by somebody who was interrupted between two steps of `_create_at_zero`.
            if {each.manager for each in error.owners} == {CREATOR}:
                return self._cluster.apply(wanted, force=True, dry_run=dry_run)
            raise
        except Refused as error:
            if dry_run and "does not support dry run" in str(error):  # a webhook of somebody's
                return None
            raise
        except Denied:
            if not _is_shared(wanted) or not self._may_be_there(wanted):
                raise
            return None

    def _may_be_there(self, wanted: Object) -> bool:
        """Whether it is there; those who may only work within a namespace cannot see that."""
        try:
            return self._cluster.get(self._cluster.identify(wanted)) is not None
        except Denied:
            return bool(wanted["kind"] == "Namespace")

    def _create_at_zero(self, wanted: Object) -> None:
        """Make a Deployment of workers that has none.

        What is rendered has no `replicas`, since KEDA and its HPA own that field and an apply must
        not touch it.  A Deployment made so would begin with one pod, Kubernetes' default: a GPU
        started for nothing.  Were the first count applied by our own manager and left out later,
        that would take the field back to its default, too.  So another manager applies all with 0;
        ours then owns all but that; the other keeps the count alone, until the scaler takes it.
        """
        spec = {**wanted["spec"], "replicas": 0}
        self._cluster.apply({**wanted, "spec": spec}, manager=CREATOR, force=self._force)
        # The server fills in defaults, and then takes what it was given for something else: force.
        self._cluster.apply(wanted, force=True)
        names = ("apiVersion", "kind")
        metadata = {
            name: wanted["metadata"][name]
            for name in ("name", "namespace")
            if name in wanted["metadata"]
        }
        count = {name: wanted[name] for name in names} | {"metadata": metadata}
        try:
            self._cluster.apply({**count, "spec": {"replicas": 0}}, manager=CREATOR)
        except Owned:  # a ScaledObject that outlived an earlier Deployment has scaled it by now
            self._cluster.apply(count, manager=CREATOR)

    def _without_failed_job(self, before: Object, identity: Identity) -> Object | None:
        """The object, or None once a Job that has failed is deleted: it would not run again."""
        if before["kind"] != "Job" or not readiness(before).failed:
            return before
        self._cluster.delete(identity)
        gone_by = self._clock() + DELETING
        while self._cluster.get(identity) is not None:
            if self._clock() >= gone_by:
                raise ClusterError(f"{identity}, which failed before, is not gone yet: try again")
            time.sleep(self._interval)
        return None


def namespace_first(objects: Sequence[Object]) -> list[Object]:
    """The objects in their order, but for Namespaces, which all others need."""
    return sorted(objects, key=lambda wanted: wanted["kind"] != "Namespace")


def _is_shared(wanted: Object) -> bool:
    """Whether it is the whole cluster's, which an account of one namespace may not change."""
    return bool(wanted["kind"] in SHARED)


def _what_happened(before: Object | None, after: Object) -> str:
    """Versions say nothing of it: controllers write statuses meanwhile, and a dry run has none."""
    if before is None:
        return "created"
    return SAME if content(before) == content(after) else "changed"
