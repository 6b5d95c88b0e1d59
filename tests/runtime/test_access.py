"""The door of a gateway: who comes in, who does not, and how soon a change is seen."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime import access as module
from runtime.access import COARSE, Access
from runtime.devices import find_machine
from runtime.errors import (
    ConfigurationError,
    Forbidden,
    LumbreError,
    RateExceeded,
    Unauthorized,
    Unavailable,
)
from runtime.keys import Key, Keys, new_key
from runtime.ledger import Ledger
from runtime.node import Node
from runtime.query import Headers
from runtime.scopes import ADMIN, OPEN, OWN, READ, RUN, STOP, Need, Scope
from runtime.settings import Settings, read_settings
from tests.places import SqlitePlace

AT = 1_800_000_000.0


class Kept(Keys):
    """The keys of a ledger that is no database, and may be away."""

    def __init__(self, *keys: Key) -> None:
        self.keys = {key.id: key for key in keys}
        self.away = False
        self.broken = False
        self.looks = 0
        self.noted: list[dict[str, float]] = []

    async def held(self) -> list[Key]:
        self.looks += 1
        if self.broken:
            raise ValueError("'everything' is not a valid Scope")
        if self.away:
            raise Unavailable("the ledger cannot be read", 5)
        return list(self.keys.values())

    async def used(self, at: Any) -> None:
        self.noted.append(dict(at))


class Door:
    """An access to some keys, at an instant that a test says."""

    def __init__(self, *keys: Key, alone: bool = False, **settings: Any) -> None:
        self.now = AT
        self.kept = Kept(*keys)
        self.access = Access(
            self.kept, read_settings(settings), alone=alone, clock=lambda: self.now
        )

    async def open(self) -> "Door":
        await self.access.open()
        return self

    def refuses(self, need: Need, headers: Headers) -> type[LumbreError] | None:
        try:
            self.access.admit(need, headers)
        except LumbreError as error:
            return type(error)
        return None

    def refuses_run(self, headers: Headers) -> type[LumbreError] | None:
        """The same on the path of POST /invoke."""
        try:
            self.access.admit_run(RUN, headers)
        except LumbreError as error:
            return type(error)
        return None


def key(*scopes: Scope, **more: Any) -> tuple[Key, Headers]:
    made, text = new_key("ci", scopes or [Scope.INVOKE], AT, **more)
    return made, {b"authorization": b"Bearer " + text.encode()}


def session(access: Access, headers: Headers) -> Headers:
    found = access.sign_in(headers[b"authorization"].decode().removeprefix("Bearer "))
    assert found is not None
    return {b"cookie": f"theme=dark; lumbre_session={found[0]}".encode()}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LUMBRE_{name.upper()}", raising=False)


# ── on and off ────────────────────────────────────────────────────────────────────────────────


async def test_without_a_key_everybody_comes_in_and_nobody_is_asked() -> None:
    door = await Door().open()
    assert not door.access.enabled and not door.access.guards
    assert door.refuses(ADMIN, {}) is None


async def test_the_first_key_closes_the_door_and_revoking_the_last_opens_it() -> None:
    made, headers = key()
    door = await Door().open()
    door.kept.keys[made.id] = made
    await door.access.refresh()
    assert door.access.enabled and door.access.guards
    assert (door.refuses(RUN, {}), door.refuses(RUN, headers)) == (Unauthorized, None)
    door.kept.keys.clear()
    await door.access.refresh()
    assert not door.access.enabled and not door.access.guards


async def test_nobody_comes_in_before_the_keys_are_known() -> None:
    door = Door()
    assert door.access.guards
    assert door.refuses(READ, {}) is Unauthorized


async def test_an_expired_key_keeps_the_door_closed() -> None:
    made, headers = key(expires_at=AT - 1)
    door = await Door(made).open()
    assert door.refuses(RUN, headers) is Unauthorized


async def test_keys_may_be_asked_for_without_any_and_not_asked_for_with_some() -> None:
    made, headers = key()
    assert (await Door(keys="on").open()).refuses(RUN, headers) is Unauthorized
    assert (await Door(made, keys="off").open()).refuses(RUN, {}) is None


ELSEWHERE: dict[str, Any] = {"host": "127.0.0.2"}


@pytest.mark.parametrize("more", [{}, {"keys": "off"}])
async def test_another_address_without_keys_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"LUMBRE_HOST=127\.0\.0\.2.*lumbre keys create"):
        await Door(**ELSEWHERE, **more).open()


async def test_another_address_with_keys_off_is_refused_though_there_are_keys() -> None:
    with pytest.raises(ConfigurationError, match="whoever reaches this address"):
        await Door(key()[0], **ELSEWHERE, keys="off").open()


async def test_another_address_is_taken_with_a_key_or_on_or_insecure() -> None:
    assert (await Door(key()[0], **ELSEWHERE).open()).access.enabled
    assert (await Door(**ELSEWHERE, keys="on").open()).access.enabled
    assert not (await Door(**ELSEWHERE, insecure=True).open()).access.enabled
    assert (await Door(key()[0], **ELSEWHERE, insecure=True).open()).access.enabled


async def test_on_another_address_revoking_the_last_key_opens_nothing() -> None:
    made, headers = key()
    door = await Door(made, **ELSEWHERE).open()
    door.kept.keys.clear()
    await door.access.refresh()
    assert door.refuses(RUN, headers) is Unauthorized


# ── scopes ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["key", "session"])
@pytest.mark.parametrize(
    ("scope", "may"),
    [
        (Scope.INVOKE, (RUN, STOP, OWN, OPEN)),
        (Scope.READ, (READ, OWN, OPEN)),
        (Scope.ADMIN, (RUN, STOP, OWN, OPEN, READ, ADMIN)),
    ],
)
async def test_a_key_may_do_what_its_scope_says_and_nothing_else(
    scope: Scope, may: tuple[Need, ...], how: str
) -> None:
    made, headers = key(scope)
    door = await Door(made).open()
    if how == "session":
        headers = session(door.access, headers)
    for need in (RUN, STOP, OWN, OPEN, READ, ADMIN):
        assert door.refuses(need, headers) is (None if need in may else Forbidden)
    identity = door.access.admit(OWN, headers)
    assert identity is not None
    assert (identity.key, identity.name, identity.via) == (made.id, "ci", how)
    assert identity.scopes == {scope}


async def test_a_refusal_names_the_scope_that_is_missing_and_the_key() -> None:
    made, headers = key(Scope.READ)
    door = await Door(made).open()
    with pytest.raises(Forbidden, match=r"scope invoke or admin, and the API key 'ci' has read"):
        door.access.admit(RUN, headers)
    with pytest.raises(Forbidden, match="--scope admin"):
        door.access.check(door.access.who(headers), Scope.ADMIN)
    with pytest.raises(Unauthorized, match="Authorization: Bearer KEY"):
        door.access.check(None, Scope.READ)
    door.access.check(door.access.who(headers), Scope.ADMIN, Scope.READ)
    assert door.access.may(door.access.who(headers), "read")
    assert not door.access.may(door.access.who(headers), "admin")
    assert not door.access.may(None, "read")
    assert (await Door().open()).access.may(None, "admin")


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.replace(b"Bearer ", b"Basic "),
        lambda value: value.replace(b"Bearer ", b"Bearer"),
        lambda value: value[:-1],
        lambda value: value + b"A",
        lambda value: value.lower(),
        lambda value: b"Bearer " + b"\xff" * 59,
        lambda value: b"Bearer ",
        lambda value: b"",
    ],
)
async def test_what_is_no_key_is_refused(change: Callable[[bytes], bytes]) -> None:
    made, headers = key()
    door = await Door(made).open()
    assert door.refuses(RUN, headers) is None  # and so it is known
    assert door.refuses(RUN, {b"authorization": change(headers[b"authorization"])}) is Unauthorized


async def test_the_scheme_is_known_in_any_case() -> None:
    made, headers = key()
    door = await Door(made).open()
    for scheme in (b"bearer ", b"BEARER  "):
        value = headers[b"authorization"].replace(b"Bearer ", scheme)
        assert door.refuses(RUN, {b"authorization": value}) is None


async def test_a_wrong_key_is_refused_beside_a_good_session_and_another_scheme_is_not() -> None:
    made, headers = key(Scope.READ)
    door = await Door(made).open()
    cookie = session(door.access, headers)
    assert door.refuses(READ, cookie | {b"authorization": b"Basic abc"}) is None
    assert door.refuses(READ, cookie | {b"authorization": b"Bearer abc"}) is Unauthorized


# ── the end of a key ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["key", "session"])
async def test_a_key_ends_at_its_instant(how: str) -> None:
    made, headers = key(Scope.INVOKE, expires_at=AT + 60)
    door = await Door(made).open()
    if how == "session":
        headers = session(door.access, headers)
    for now, refused in ((AT + 59, None), (AT + 60, Unauthorized)):
        door.now = now
        assert door.refuses(RUN, headers) is refused
        assert door.refuses_run(headers) is refused


@pytest.mark.parametrize("how", ["key", "session"])
async def test_a_revoked_key_is_refused_from_the_next_look_on(how: str) -> None:
    made, headers = key(Scope.INVOKE)
    other, others = key(Scope.INVOKE)
    door = await Door(made, other).open()
    if how == "session":
        headers = session(door.access, headers)
    assert door.refuses(RUN, headers) is None
    del door.kept.keys[made.id]
    await door.access.refresh()
    assert door.refuses(RUN, headers) is Unauthorized
    with pytest.raises(Unauthorized):
        door.access.admit_run(RUN, headers)
    assert door.refuses(RUN, others) is None


async def test_where_the_ledger_is_away_the_keys_known_last_count() -> None:
    made, headers = key()
    door = await Door(made).open()
    door.kept.away = True
    with pytest.raises(Unavailable):
        await door.access.refresh()
    assert (door.refuses(RUN, headers), door.refuses(RUN, {})) == (None, Unauthorized)


async def test_looking_goes_on_whatever_a_look_finds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.001)
    made, headers = key()
    door = await Door(made).open()

    async def looks(count: int) -> None:
        async with asyncio.timeout(10):
            while door.kept.looks < count:
                await asyncio.sleep(0)

    door.access.start()
    door.kept.away = True
    await looks(door.kept.looks + 3)
    assert caplog.text.count("the API keys known last go on to count") == 1
    door.kept.away, door.kept.broken = False, True
    await looks(door.kept.looks + 3)
    assert "cannot be looked at" in caplog.text
    assert door.refuses(RUN, headers) is None
    door.kept.broken = False
    door.kept.keys.clear()
    await looks(door.kept.looks + 2)
    assert not door.access.enabled
    await door.access.close()


# ── rates ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_over_its_rate_is_told_when_to_come_again() -> None:
    made, headers = key(rate=2)
    door = await Door(made).open()
    for _ in range(2):
        door.access.admit_run(RUN, headers)
    with pytest.raises(RateExceeded, match="may make 2 invocations a second") as refusal:
        door.access.admit_run(RUN, headers)
    assert refusal.value.retry_after == 1
    assert door.refuses(RUN, headers) is RateExceeded
    assert door.refuses(OWN, headers) is None  # asking and stopping cost nothing
    assert door.refuses(STOP, headers) is None
    door.now += 0.5
    assert (door.refuses(RUN, headers), door.refuses(RUN, headers)) == (None, RateExceeded)


async def test_a_batch_costs_what_its_items_would() -> None:
    made, headers = key(rate=10)
    door = await Door(made).open()
    identity = door.access.admit(RUN, headers)
    door.access.charge(identity, 29)
    door.now += 1.9
    assert door.refuses(RUN, headers) is RateExceeded
    door.now += 0.3
    assert door.refuses(RUN, headers) is None
    door.access.charge(None, 5)


async def test_a_rate_is_not_forgotten_when_the_keys_are_read_again() -> None:
    made, headers = key(rate=1)
    door = await Door(made).open()
    assert door.refuses(RUN, headers) is None
    other, _ = key()
    door.kept.keys[other.id] = other
    await door.access.refresh()
    assert door.refuses(RUN, headers) is RateExceeded


async def test_sessions_and_keys_share_a_rate() -> None:
    made, headers = key(rate=1)
    door = await Door(made).open()
    assert door.refuses(RUN, session(door.access, headers)) is None
    assert door.refuses(RUN, headers) is RateExceeded


# ── use ───────────────────────────────────────────────────────────────────────────────────────


async def test_use_is_noted_once_a_minute_and_at_the_end() -> None:
    made, headers = key()
    door = await Door(made).open()
    assert door.refuses(RUN, headers) is None
    await door.access._note_use(COARSE)
    assert door.kept.noted == [{made.id: AT}]
    for seconds in (COARSE / 2, COARSE, COARSE + 1):
        door.now = AT + seconds
        door.access.admit_run(RUN, headers)
        await door.access._note_use(COARSE)
    assert door.kept.noted == [{made.id: AT}, {made.id: AT + COARSE + 1}]
    door.now += 1
    door.access.admit_run(RUN, headers)
    await door.access.close()
    assert door.kept.noted[-1] == {made.id: door.now}


async def test_two_gateways_of_one_ledger_know_the_same_keys_and_sessions(
    ledger: Ledger,
) -> None:
    made, headers = key(Scope.READ)
    settings = read_settings({})
    one, other = Access(ledger.keys, settings), Access(ledger.keys, settings)
    await ledger.keys.add(made)
    for access in (one, other):
        await access.open()
    cookie = session(one, headers)
    assert other.who(cookie) == one.who(cookie) is not None
    await ledger.keys.revoke(made.id, AT)
    for access in (one, other):
        await access.refresh()
        assert access.who(cookie) is None and access.who(headers) is None


# ── read-only ─────────────────────────────────────────────────────────────────────────────────

PAGES: list[Headers] = [
    {b"sec-fetch-site": b"same-origin"},
    {b"origin": b"http://localhost:8080"},
    {b"hx-request": b"true"},
    {b"accept": b"text/html,*/*"},
]


@pytest.mark.parametrize("headers", PAGES)
async def test_a_read_only_console_lets_no_page_change_anything(headers: Headers) -> None:
    door = await Door(read_only=True).open()
    assert door.access.guards and not door.access.enabled
    for need in (RUN, STOP, ADMIN):
        assert door.refuses(need, headers) is Forbidden
        assert door.refuses(need, {}) is None  # programs are none of its pages
    assert door.refuses(READ, headers) is door.refuses(OPEN, headers) is None
    with pytest.raises(Forbidden, match="read-only"):
        door.access.admit_run(RUN, headers)


async def test_a_read_only_console_by_itself_lets_nobody_change_anything() -> None:
    made, headers = key(Scope.ADMIN)
    door = await Door(made, alone=True, read_only=True).open()
    for need in (RUN, STOP, ADMIN):
        assert door.refuses(need, headers) is Forbidden
    assert door.refuses(READ, headers) is None
    with pytest.raises(Forbidden, match="read-only"):
        door.access.admit_run(RUN, headers)
    assert (await Door(alone=True).open()).refuses(ADMIN, {}) is None


# ── the path of every call ────────────────────────────────────────────────────────────────────


class Ajar:
    """An access of which nothing may be asked but whether anybody needs to be asked."""

    guards = False


async def test_where_nothing_is_guarded_a_call_asks_for_nothing_else(
    sqlite_place: SqlitePlace,
) -> None:
    settings = read_settings({"state": sqlite_place.path.parent, "ledger_url": sqlite_place.url})
    ledger = await Ledger.open(settings.ledger)
    node = Node(settings, find_machine(settings), ledger)
    node.gateway._access = Ajar()  # type: ignore[assignment]
    node.admission.described.set()
    transport = httpx.ASGITransport(app=node.gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://node.test") as client:
        assert (await client.post("/invoke/unknown", json={})).status_code == 404
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/invocations/unknown")).status_code == 404
    await ledger.close()
