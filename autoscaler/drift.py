"""What applying objects would change in a cluster, as the cluster itself works it out.

The API server is asked for a dry run of each, whose result has every default filled in, so that
only what would really change differs from what is there.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import yaml

from autoscaler.cluster import Cluster
from autoscaler.identity import Identity, Object
from autoscaler.refusal import Absent, Owned


@dataclass(frozen=True, slots=True)
class Change:
    """What an apply would do to one object.

    `diff` is a unified diff of YAML; `owned` says which of the fields others would keep.
    """

    identity: Identity
    diff: str
    owned: str = ""


def drift(cluster: Cluster, wanted: Iterable[Object], gone: Iterable[Object]) -> Iterator[Change]:
    """The changes, in order; objects that would stay as they are are none.

    `gone` are those that would be deleted.
    """
    for each in wanted:
        identity = cluster.identify(each)
        before = cluster.get(identity)
        after, owned = _applied(cluster, each)
        if text := _diff(identity, before, after):
            yield Change(identity, text, owned)
    for each in gone:
        identity = cluster.identify(each)
        yield Change(identity, _diff(identity, each, None))


def _applied(cluster: Cluster, wanted: Object) -> tuple[Object, str]:
    try:
        return cluster.apply(wanted, dry_run=True), ""
    except Owned as error:
        return cluster.apply(wanted, dry_run=True, force=True), str(error)
    except Absent:  # its namespace is yet to be made
        return wanted, ""


def _diff(identity: Identity, before: Object | None, after: Object | None) -> str:
    old, new = _lines(before), _lines(after)
    name = str(identity).replace(" ", "/")
    names = (
        f"{'live' if before else 'nothing'}/{name}",
        f"{'applied' if after else 'gone'}/{name}",
    )
    return "".join(difflib.unified_diff(old, new, *names))


def _lines(found: Object | None) -> list[str]:
    if found is None:
        return []
    return yaml.safe_dump(content(found), sort_keys=True, width=100).splitlines(keepends=True)


def content(found: Object) -> Object:
    """An object without what changes by itself: its status, and what the server keeps of it."""
    kept = {name: value for name, value in found.items() if name != "status"}
    noise = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp")
    kept["metadata"] = {
        name: value for name, value in found["metadata"].items() if name not in noise
    }
    return kept
