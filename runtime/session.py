"""Sessions of browsers: a cookie that says which key somebody signed in with, and until when.

It is `ID.EXPIRY.SECRET.MAC`.  SECRET is what `keys.session_secret` makes of the key's secret, so
that only who had the key can have it, and MAC is HMAC-SHA256 of all before it, keyed with the hash
the ledger keeps, so that only a gateway can have said until when.  So no gateway needs to remember
anything: each of them takes the sessions of the others, and a session dies with its key.
"""

import hashlib
import hmac
import re

from runtime.keys import Key, session_secret

COOKIE = "lumbre_session"
LENGTH = 12 * 3600.0  # seconds
FORM = re.compile(r"([a-z2-7]{8})\.([1-9][0-9]{0,11})\.([0-9a-f]{64})\.([0-9a-f]{64})", re.ASCII)


def new_session(key: Key, secret: str, now: float) -> tuple[str, int]:
    """The value of the cookie for who has shown a key's secret, and its seconds from now."""
    until = now + LENGTH if key.expires_at is None else min(now + LENGTH, key.expires_at)
    said = f"{key.id}.{int(until)}.{session_secret(secret)}"
    return f"{said}.{_mac(key, said)}", max(0, int(until - now))


def key_id(session: str) -> str | None:
    """The id of the key that a session says it is of; None of what is no session."""
    found = FORM.fullmatch(session)
    return found[1] if found else None


def holds(session: str, key: Key, now: float) -> bool:
    """Whether this is a session of the key that has not ended."""
    found = FORM.fullmatch(session)
    if not found or found[1] != key.id:
        return False
    said, _, mac = session.rpartition(".")
    genuine = hmac.compare_digest(_mac(key, said), mac)
    return genuine and key.fits_session(found[3]) and now < int(found[2])


def session_of(cookies: bytes) -> str | None:
    """The session in a Cookie header (RFC 6265 §4.2); None where there is none."""
    for pair in cookies.split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == COOKIE.encode():
            return value.decode("latin-1").strip('"')
    return None


def _mac(key: Key, said: str) -> str:
    return hmac.new(bytes.fromhex(key.hash), said.encode(), hashlib.sha256).hexdigest()
