"""Why a cluster did not do what it was asked: an answer of its API server, told in one line.

A refusal's body is a Status object (Kubernetes API conventions, "Response Status Kind"): a reason,
a message, and causes with the field each is about.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from runtime.errors import LumbreError

CONFLICT = "FieldManagerConflict"  # a cause's reason, where server-side apply meets another owner
MANAGER = re.compile(r'conflict with "([^"]*)"')


class ClusterError(LumbreError):
    """The cluster cannot be asked, or did not do what it was asked."""

    title = "Cluster"


class Unreachable(ClusterError):
    """No API server answers."""


class Denied(ClusterError):
    """The account may not do it (403), or is not known (401)."""


class Refused(ClusterError):
    """The API server, or an admission webhook of it, does not take the object."""


class TryLater(ClusterError):
    """The server is too busy (429), or a webhook of it does not answer just now."""


class Absent(ClusterError):
    """There is no such object, or no such kind of object."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A field of a live object, and the field manager that said what it is."""

    field: str
    manager: str


class Owned(ClusterError):
    """Fields of the live object belong to others, who want them otherwise (server-side apply)."""

    def __init__(self, what: str, owners: tuple[Owner, ...]) -> None:
        said = "; ".join(f"{each.field} is owned by {each.manager}" for each in owners)
        super().__init__(
            f"{what} was changed by others: {said}. --force-conflicts takes these fields, and what"
            " they were is lost; or let the values say what they are"
        )
        self.owners = owners


def refusal(status: int, body: str, verb: str, what: str, where: str) -> ClusterError:
    """The error for an answer with `status` ≥ 400 to `verb`ing `what` (a resource with its name).

    `where` says which cluster it was and by which credentials.
    """
    told = _status(body)
    message = str(told.get("message") or body.strip() or "no reason was given")[:2000]
    if status == 401:
        return Denied(
            f"{where} does not know this account (401): its credentials have expired or are wrong;"
            " log in to the cluster again, or name another with --context"
        )
    if status == 403:
        return _forbidden(message, verb, what, where)
    if status == 409 and (owners := _owners(told)):
        return Owned(what, owners)
    if status == 404:
        return Absent(f"{what}: {message}")
    if status == 429 or "failed calling webhook" in message:
        return TryLater(f"the cluster does not {verb} {what} just now: {message}")
    return Refused(f"the cluster does not {verb} {what} ({status}): {_with_causes(message, told)}")


def _forbidden(message: str, verb: str, what: str, where: str) -> ClusterError:
    """403 is the answer of RBAC, and of admission: of quotas, and in a namespace that goes."""
    if "being terminated" in message:
        return Refused(f"{what}: its namespace is being deleted; wait until it is gone")
    if "system:anonymous" in message:
        return Denied(f"{where} was asked without credentials: log in to the cluster again")
    if "cannot" not in message:
        return Refused(f"the cluster does not {verb} {what}: {message}")
    return Denied(
        f"this account may not {verb} {what}: {message}. Ask for a Role with the verb {verb!r}, or"
        " use another account with --context"
    )


def _status(body: str) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:  # a proxy between has answered
        return {}
    return told if isinstance(told, dict) else {}


def _causes(told: dict[str, Any]) -> list[dict[str, str]]:
    return (told.get("details") or {}).get("causes") or []


def _owners(told: dict[str, Any]) -> tuple[Owner, ...]:
    found = []
    for cause in _causes(told):
        if cause.get("reason") == CONFLICT:
            named = MANAGER.search(cause.get("message", ""))
            found.append(Owner(cause.get("field", "?"), named[1] if named else "another"))
    return tuple(found)


def _with_causes(message: str, told: dict[str, Any]) -> str:
    """The message, and each cause that it does not say itself."""
    more = [f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in _causes(told)]
    return "; ".join([message, *(each for each in more if each.partition(": ")[2] not in message)])
