"""Who may do what: API keys at a gateway's door, and what a read-only console refuses.

A gateway keeps the ledger's keys in memory and looks again every two seconds, so that a key which
is revoked stops within five.  Where the ledger is away the keys known last go on to count.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from runtime.errors import Forbidden, LumbreError, RateExceeded, Unauthorized
from runtime.keys import Key, Keys, parts_of
from runtime.query import Headers
from runtime.scopes import Need, Needs, Scope, in_order
from runtime.serving import LOOPBACK, check_address
from runtime.session import holds, key_id, new_session, session_of
from runtime.settings import Settings
from runtime.throttle import Throttle

LOOK_AGAIN = 2.0  # seconds
COARSE = 60.0  # seconds between two notes in the ledger that a key is used
MOST_VERIFIED = 4096  # headers that are known to hold a key
SCHEME = b"bearer "  # in any case (RFC 9110 §11.1)
SCOPES = frozenset(Scope)

GIVE = (
    "send `Authorization: Bearer KEY` (the command line takes KEY from LUMBRE_API_KEY), or sign in"
    " at /signin; `lumbre keys create NAME --scope read --scope invoke` makes one"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose request it is."""

    key: str  # its id
    name: str
    scopes: frozenset[Scope]
    via: Literal["key", "session"]

    def may(self, scope: Scope | str) -> bool:
        """Whether the key has this scope, or `admin`, which has all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class _Held:
    """A key that is not revoked, and what this gateway saw of it."""

    __slots__ = ("expires_at", "key", "noted_at", "scopes", "throttle", "used_at")

    def __init__(self, key: Key, now: float, before: "_Held | None") -> None:
        self.key = key
        self.scopes = SCOPES if Scope.ADMIN in key.scopes else key.scopes
        self.expires_at = math.inf if key.expires_at is None else key.expires_at
        self.used_at: float = before.used_at if before else 0.0
        self.noted_at: float = before.noted_at if before else key.last_used_at or 0.0
        self.throttle: Throttle | None = None
        if key.rate is not None:
            known = before.throttle if before and before.key.rate == key.rate else None
            self.throttle = known or Throttle(key.rate, max(1.0, key.rate), now)


class Access:
    """The door of one gateway.

    `enabled`: keys are asked for.  `guards`: they are, or something is refused to everybody; where
    it is false nobody needs to be asked anything, and that is all that costs a call then.
    `alone`: the process serves the console and nothing else, `lumbre console`.
    """

    def __init__(
        self,
        keys: Keys,
        settings: Settings,
        *,
        alone: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.needs = Needs()
        self._keys = keys
        self._settings = settings
        self._alone = alone
        self._clock = clock
        self._lasting = settings.keys == "on"  # even with no key left
        self._held: dict[str, _Held] = {}  # by id
        self._verified: dict[bytes, _Held] = {}  # by Authorization header
        self._task: asyncio.Task[None] | None = None
        self._away = False
        # Closed until the keys are known: whoever serves before `open` serves nobody.
        self.enabled = settings.keys != "off"
        self.guards = self.enabled or settings.read_only

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    # ── the keys there are ────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Read the keys, before anybody is served.

        ConfigurationError where others reach this address and no key keeps them out.  Where keys
        do, they are asked for as long as this process runs, even if the last one is revoked.
        """
        await self.refresh()
        check_address(self._settings, keys=self.enabled)
        if self._settings.host not in LOOPBACK and not self._settings.insecure:
            self._lasting = True
        if self.enabled and not self._held:
            log.warning(
                "LUMBRE_KEYS=on and there is no API key: make one with `lumbre keys create`"
            )

    def start(self) -> None:
        """Go on to look at the keys."""
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop looking, and note which keys were used."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        try:
            await self._note_use(0.0)
        except LumbreError as error:
            log.warning("when keys were last used is not known: %s", error)

    async def refresh(self) -> None:
        """Take the keys that the ledger has now.  Unavailable where it is away."""
        self._take(await self._keys.held())

    def _take(self, keys: Iterable[Key]) -> None:
        now = self._clock()
        found = {key.id: _Held(key, now, self._held.get(key.id)) for key in keys}
        if {id: each.key for id, each in found.items()} != self._known():
            self._verified.clear()
            self._held = found
        self.enabled = self._settings.keys != "off" and (self._lasting or bool(self._held))
        self.guards = self.enabled or self._settings.read_only

    def _known(self) -> dict[str, Key]:
        return {id: each.key for id, each in self._held.items()}

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            try:
                await self.refresh()
                await self._note_use(COARSE)
            except LumbreError as error:
                if not self._away:
                    log.warning("the API keys known last go on to count: %s", error)
                self._away = True
            except Exception:  # whatever it is: a gateway that looks no more knows no revocation
                log.exception(
                    "the API keys cannot be looked at; they are again in %g s", LOOK_AGAIN
                )
            else:
                self._away = False

    async def _note_use(self, coarse: float) -> None:
        used = {
            id: each.used_at
            for id, each in self._held.items()
            if each.used_at > each.noted_at + coarse
        }
        if used:
            await self._keys.used(used)
            for id, at in used.items():
                if each := self._held.get(id):
                    each.noted_at = at

    # ── who asks, and whether they may ────────────────────────────────────────────────────────

    def admit(self, need: Need, headers: Headers) -> Identity | None:
        """Let a request pass; who sends it, where keys are on and it is not open to everybody.

        Unauthorized without a key that counts, Forbidden for one without the scope and where
        nothing may be changed, RateExceeded for one that is over its rate.
        """
        if need.changes and self._settings.read_only:
            self._refuse_change(headers)
        if not self.enabled or not need.scopes:
            return None
        held, via = self._find(headers)
        if held is None:
            raise _refusal(headers)
        if held.scopes.isdisjoint(need.scopes):
            raise _lacking(held.key, need.scopes)
        self._count(held, need)
        return _identity(held, via)

    def admit_run(self, need: Need, headers: Headers) -> None:
        """`admit` for the path where every microsecond counts."""
        # Found by the header as it came: a dictionary compares the hash first, which is secret
        # and differs in every process, so how long that takes tells nothing of another's key.
        held = self._verified.get(headers.get(b"authorization", b""))
        if held is None or self._settings.read_only or need.scopes.isdisjoint(held.scopes):
            self.admit(need, headers)
            return
        self._count(held, need)

    def who(self, headers: Headers) -> Identity | None:
        """Whose key or session these headers have; None where they have none that counts."""
        held, via = self._find(headers)
        return _identity(held, via) if held else None

    def check(self, identity: Identity | None, *scopes: Scope) -> None:
        """Unauthorized or Forbidden unless somebody has one of these scopes, or keys are off."""
        if not self.enabled:
            return
        if identity is None:
            raise Unauthorized(f"this needs an API key: {GIVE}")
        if not any(identity.may(scope) for scope in scopes):
            held = self._held.get(identity.key)
            raise _lacking(held.key if held else identity, frozenset(scopes))

    def may(self, identity: Identity | None, scope: Scope | str) -> bool:
        """Whether a page should offer what needs this scope."""
        return not self.enabled or (identity is not None and identity.may(scope))

    def charge(self, identity: Identity | None, invocations: int) -> None:
        """Count invocations beyond the one that a request was let in for towards its key's rate."""
        held = self._held.get(identity.key) if identity else None
        if held and held.throttle and invocations > 0:
            held.throttle.owe(invocations)

    def sign_in(self, text: str) -> tuple[str, int] | None:
        """A session for who shows a key, and its seconds; None for what is no key that counts."""
        held, now = self._by_text(text), self._clock()
        parts = parts_of(text)
        if held is None or parts is None or held.expires_at <= now:
            return None
        held.used_at = now
        return new_session(held.key, parts[1], now)

    def _find(self, headers: Headers) -> tuple[_Held | None, Literal["key", "session"]]:
        authorization = headers.get(b"authorization", b"")
        if authorization[: len(SCHEME)].lower() == SCHEME:
            return self._by_header(authorization), "key"
        cookie = headers.get(b"cookie")
        session = session_of(cookie) if cookie else None
        held = self._held.get(key_id(session) or "") if session else None
        now = self._clock()
        if session is None or held is None or not holds(session, held.key, now):
            return None, "session"
        return (held if held.expires_at > now else None), "session"

    def _by_header(self, authorization: bytes) -> _Held | None:
        held = self._verified.get(authorization)
        if held is None:
            text = authorization[len(SCHEME) :].strip(b" ").decode("latin-1")
            held = self._by_text(text)
            if held is None:
                return None
            if len(self._verified) >= MOST_VERIFIED:
                self._verified.clear()
            self._verified[authorization] = held
        return held if held.expires_at > self._clock() else None

    def _by_text(self, text: str) -> _Held | None:
        parts = parts_of(text)
        held = self._held.get(parts[0]) if parts else None
        return held if parts and held and held.key.fits(parts[1]) else None

    def _count(self, held: _Held, need: Need) -> None:
        """Note that a key is used; RateExceeded, or Unauthorized where it has expired."""
        now = self._clock()
        if held.expires_at <= now:
            raise Unauthorized(f"the API key {held.key.name!r} has expired: {GIVE}")
        held.used_at = now
        if need.counts and held.throttle and (wait := held.throttle.take(now)):
            raise RateExceeded(
                f"the API key {held.key.name!r} may make {held.key.rate:g} invocations a second:"
                f" try again in {wait:.3g} s, or make a key with a higher --rate",
                math.ceil(wait),
            )

    def _refuse_change(self, headers: Headers) -> None:
        if self._alone:
            raise Forbidden("this `lumbre console` is read-only: ask a gateway of `lumbre gateway`")
        if from_page(headers):
            raise Forbidden("this console is read-only (LUMBRE_READ_ONLY): send it from a program")


def from_page(headers: Headers) -> bool:
    """Whether a browser sends this for a page: programs send none of these headers."""
    marks = (b"sec-fetch-site", b"origin", b"hx-request")
    return any(mark in headers for mark in marks) or b"text/html" in headers.get(b"accept", b"")


def _identity(held: _Held, via: Literal["key", "session"]) -> Identity:
    return Identity(held.key.id, held.key.name, held.key.scopes, via)


def _refusal(headers: Headers) -> Unauthorized:
    if b"authorization" in headers:
        return Unauthorized(f"there is no such API key, or it was revoked or has expired: {GIVE}")
    if b"cookie" in headers and session_of(headers[b"cookie"]):
        return Unauthorized(f"this session has ended, or its key was revoked: {GIVE}")
    return Unauthorized(f"this needs an API key: {GIVE}")


def _lacking(key: Key | Identity, scopes: frozenset[Scope]) -> Forbidden:
    wanted = " or ".join(in_order({*scopes, Scope.ADMIN}))
    has = ", ".join(in_order(key.scopes))
    return Forbidden(
        f"this needs the scope {wanted}, and the API key {key.name!r} has {has}: take another key,"
        f" or make one with `lumbre keys create NAME --scope {in_order(scopes)[0]}`"
    )
