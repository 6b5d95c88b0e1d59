"""API keys: their form, what is kept of them, over every database that a ledger may lie in."""

import string
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidInput
from runtime.keys import FORM, Key, new_key, parts_of, session_secret
from runtime.ledger import Ledger
from runtime.scopes import Scope
from tests.places import Place, SqlitePlace

AT = 1_800_000_000.0
ALPHABET = string.ascii_letters + string.digits + "-_."


def made(name: str = "ci", *scopes: Scope) -> tuple[Key, str]:
    return new_key(name, scopes or [Scope.INVOKE, Scope.READ], AT)


@given(drawn=st.binary(min_size=37, max_size=37))
def test_a_key_is_always_of_its_form_and_fits_only_itself(drawn: bytes) -> None:
    bytes_left = [drawn[:5], drawn[5:]]
    key, text = new_key("n", [Scope.READ], AT, draw=lambda count: bytes_left.pop(0)[:count])
    assert FORM.fullmatch(text)
    parts = parts_of(text)
    assert parts is not None and parts[0] == key.id
    assert key.fits(parts[1])
    assert not key.fits_session(parts[1])
    assert key.fits_session(session_secret(parts[1]))
    assert not key.fits(session_secret(parts[1]))


@given(place=st.integers(0, 58), character=st.sampled_from(ALPHABET))
def test_a_key_with_any_character_changed_fits_no_more(place: int, character: str) -> None:
    key, text = made()
    changed = text[:place] + character + text[place + 1 :]
    parts = parts_of(changed)
    if changed != text:
        assert parts is None or parts[0] != key.id or not key.fits(parts[1])


def test_two_keys_never_have_anything_in_common() -> None:
    (one, first), (other, second) = made(), made()
    assert one.id != other.id
    assert first.split("_", 2)[2] != second.split("_", 2)[2]
    assert len({one.hash, one.session_hash, other.hash, other.session_hash}) == 4


def test_what_is_kept_tells_nothing_of_the_key() -> None:
    key, text = made()
    secret = text.removeprefix(f"lumbre_{key.id}_")
    kept = str(asdict(key))
    assert secret not in kept
    assert session_secret(secret) not in kept


@pytest.mark.parametrize(
    ("name", "scopes", "rate", "said"),
    [
        ("", [Scope.READ], None, "name: must be"),
        ("x" * 65, [Scope.READ], None, "name: must be"),
        ("two\nlines", [Scope.READ], None, "name: must be"),
        ("ci", [], None, "scope: is missing: one or more of invoke, read, admin"),
        ("ci", [Scope.READ], 0.0, "rate: is 0"),
        ("ci", [Scope.READ], float("nan"), "rate: is nan"),
        ("ci", [Scope.READ], float("inf"), "rate: is inf"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    name: str, scopes: list[Scope], rate: float | None, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        new_key(name, scopes, AT, rate=rate)


def test_a_key_is_valid_until_it_ends_or_is_revoked() -> None:
    key = replace(made()[0], expires_at=AT + 10)
    assert (key.state(AT), key.state(AT + 10)) == ("valid", "expired")
    assert replace(key, revoked_at=AT).state(AT) == "revoked"


# ── in a ledger ───────────────────────────────────────────────────────────────────────────────


async def test_a_key_is_read_as_it_was_written(ledger: Ledger) -> None:
    plain, _ = made()
    full, _ = new_key("Zoë's \U0001f525", list(Scope), AT + 1, rate=2.5, expires_at=AT + 60)
    await ledger.keys.add(plain)
    await ledger.keys.add(full)
    assert await ledger.keys.all() == [plain, full]
    assert {key.id for key in await ledger.keys.held()} == {plain.id, full.id}


async def test_a_key_is_revoked_once_and_stays_as_a_record(ledger: Ledger) -> None:
    key, _ = made()
    await ledger.keys.add(key)
    revoked = replace(key, revoked_at=AT + 5)
    assert await ledger.keys.revoke(key.id, AT + 5) == revoked
    assert await ledger.keys.revoke(key.id, AT + 9) == revoked
    assert await ledger.keys.held() == []
    assert await ledger.keys.all() == [revoked]
    assert await ledger.keys.revoke("nobody's\x00", AT) is None


async def test_when_a_key_was_used_only_moves_on(ledger: Ledger) -> None:
    key, _ = made()
    await ledger.keys.add(key)
    for at in (AT + 60, AT + 20):
        await ledger.keys.used({key.id: at, "unknown": at})
        (found,) = await ledger.keys.all()
        assert found.last_used_at == AT + 60
    await ledger.keys.used({})


async def test_a_key_is_nowhere_in_the_files_of_its_ledger(sqlite_place: SqlitePlace) -> None:
    ledger = await Ledger.open(sqlite_place.url)
    key, text = made()
    await ledger.keys.add(key)
    await ledger.close()
    files = [path for path in Path(sqlite_place.path).parent.iterdir() if path.is_file()]
    written = b"".join(path.read_bytes() for path in files)
    secret = text.rpartition(key.id + "_")[2]
    assert key.hash.encode() in written
    assert secret.encode() not in written and session_secret(secret).encode() not in written


async def test_keys_that_were_made_elsewhere_are_seen_at_once(place: Place) -> None:
    one, other = await Ledger.open(place.url), await Ledger.open(place.url)
    key, _ = made()
    await one.keys.add(key)
    assert await other.keys.held() == [key]
    await one.close()
    await other.close()
