"""Which scope of an API key a request needs: one table for all that a gateway serves.

What the table does not name needs `read` where it only reads, and `admin` where it changes
anything, so that a route which somebody adds is never open by accident.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

SAFE = frozenset({"GET", "HEAD"})  # methods that only read
SIGN_IN = "/signin"
SIGN_OUT = "/signout"
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/theme", SIGN_IN, SIGN_OUT})
STATIC = "/static/"
IDENTITY = "lumbre.identity"  # where a request's ASGI scope has who sends it
CHARGE = "lumbre.charge"  # and what counts more invocations than one towards the key's rate


class Scope(StrEnum):
    """What a key is good for."""

    INVOKE = "invoke"  # run and stop invocations and batches, and read those one knows the id of
    READ = "read"  # GET of everything
    ADMIN = "admin"  # everything


def in_order(scopes: Collection[Scope]) -> list[Scope]:
    """Scopes from the one that may do least to the one that may do most."""
    return [scope for scope in Scope if scope in scopes]


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs: one of these scopes, or `admin`; none is needed where it is open."""

    scopes: frozenset[Scope]
    changes: bool  # something here: refused where everything is only shown
    counts: bool = False  # towards its key's rate, because it makes an invocation

    @property
    def open(self) -> bool:
        """Whether it is for everybody, with or without a key."""
        return not self.scopes


OPEN = Need(frozenset(), changes=False)
READ = Need(frozenset({Scope.READ}), changes=False)
OWN = Need(frozenset({Scope.READ, Scope.INVOKE}), changes=False)
STOP = Need(frozenset({Scope.INVOKE}), changes=True)
RUN = Need(frozenset({Scope.INVOKE}), changes=True, counts=True)
ADMIN = Need(frozenset({Scope.ADMIN}), changes=True)

_ONE = r"/(?:invocations|batches)/[^/]+"
_READING = ((re.compile(rf"{_ONE}(?:/.*)?"), OWN),)
_CHANGING = (
    ("POST", re.compile(r"/invoke/.*"), RUN),
    ("PUT", re.compile(r"/invocations/[^/]+"), RUN),
    ("POST", re.compile(r"/invocations/[^/]+/replay"), RUN),
    ("POST", re.compile(r"/batches"), RUN),
    ("DELETE", re.compile(_ONE), STOP),
)


class Needs:
    """The table of one gateway, to which its console adds the actions of its pages."""

    def __init__(self) -> None:
        self._added: list[tuple[str, re.Pattern[str], Need]] = []

    def add(self, method: str, path: str, *scopes: str, counts: bool = False) -> None:
        """Let any of these scopes do what is at a path (with `{parts}`, as Starlette writes it).

        What needs `read` only is something that changes nothing here, though it is a POST.
        """
        parts = re.split(r"\{\w+(:\w+)?\}", path)[::2]
        pattern = re.compile("[^/]+".join(map(re.escape, parts)))
        given = frozenset(map(Scope, scopes))
        if not given:
            raise ValueError(f"{method} {path} needs a scope")
        changes = Scope.READ not in given
        self._added.append((method, pattern, Need(given, changes, counts)))

    def of(self, method: str, path: str) -> Need:
        """What a request needs."""
        if path in OPEN_PATHS or path.startswith(STATIC):
            return OPEN
        if method in SAFE:
            return next((need for path_of, need in _READING if path_of.fullmatch(path)), READ)
        for its_method, path_of, need in (*_CHANGING, *self._added):
            if method == its_method and path_of.fullmatch(path):
                return need
        return ADMIN
