"""Sessions: who has one, and that nobody can make, change or lengthen one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.keys import digest, new_key, parts_of, session_secret
from runtime.scopes import Scope
from runtime.session import COOKIE, LENGTH, _mac, holds, key_id, new_session, session_of

AT = 1_800_000_000.0
KEY, TEXT = new_key("browser", [Scope.READ], AT, draw=lambda count: bytes(range(count)))
SECRET = TEXT.rpartition(f"{KEY.id}_")[2]
SESSION, SECONDS = new_session(KEY, SECRET, AT)


def test_a_session_holds_for_twelve_hours() -> None:
    assert SECONDS == LENGTH == 12 * 3600
    assert key_id(SESSION) == KEY.id
    assert holds(SESSION, KEY, AT)
    assert holds(SESSION, KEY, AT + LENGTH - 1)
    assert not holds(SESSION, KEY, AT + LENGTH)


def test_a_session_ends_with_its_key() -> None:
    brief = replace(KEY, expires_at=AT + 60)
    session, seconds = new_session(brief, SECRET, AT)
    assert seconds == 60
    assert holds(session, brief, AT + 59)
    assert not holds(session, brief, AT + 60)


def test_a_session_is_of_its_key_only() -> None:
    other, text = new_key("other", [Scope.ADMIN], AT)
    assert not holds(SESSION, other, AT)
    assert not holds(SESSION, replace(other, id=KEY.id), AT)
    parts = parts_of(text)
    assert parts is not None and not holds(new_session(other, parts[1], AT)[0], KEY, AT)


@given(place=st.integers(0, len(SESSION) - 1), character=st.characters())
def test_a_session_with_any_character_changed_never_holds(place: int, character: str) -> None:
    changed = SESSION[:place] + character + SESSION[place + 1 :]
    assert holds(changed, KEY, AT) == (changed == SESSION)


@given(cut=st.integers(0, len(SESSION) - 1), more=st.text(min_size=1, max_size=3))
def test_a_session_that_is_cut_or_lengthened_never_holds(cut: int, more: str) -> None:
    for changed in (SESSION[:cut], SESSION[cut + 1 :], SESSION + more, more + SESSION):
        assert changed == SESSION or not holds(changed, KEY, AT)


@given(text=st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_what_is_no_session_never_holds(text: str) -> None:
    assert not holds(text, KEY, AT)


def test_who_has_a_session_cannot_make_it_last_longer() -> None:
    said = f"{KEY.id}.{int(AT + 10 * LENGTH)}.{session_secret(SECRET)}"
    known = replace(KEY, hash=digest(session_secret(SECRET)))  # what its holder could work out
    assert not holds(f"{said}.{_mac(known, said)}", KEY, AT)
    assert not holds(f"{said}.{SESSION.rpartition('.')[2]}", KEY, AT)


def test_who_reads_the_ledger_cannot_sign_in() -> None:
    for known in (KEY.hash, KEY.session_hash, digest(KEY.hash)):
        said = f"{KEY.id}.{int(AT + LENGTH)}.{known}"
        assert not holds(f"{said}.{_mac(KEY, said)}", KEY, AT)


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        (f"{COOKIE}=abc", "abc"),
        (f"theme=dark; {COOKIE}=abc", "abc"),
        (f'bad cookie here; x="; {COOKIE}=abc;y', "abc"),
        (f'{COOKIE}="abc"', "abc"),
        (f"not_{COOKIE}=abc", None),
        (f"other={COOKIE}=abc", None),
        ("", None),
    ],
)
def test_a_session_is_found_among_other_cookies(cookies: str, found: str | None) -> None:
    assert session_of(cookies.encode()) == found
