"""API keys: what they look like, and what the ledger keeps of them.

A key is `lumbre_`, its id (8 characters), `_`, and a secret: 256 bits from the operating system as
43 characters of base64url.  It is shown once.  The ledger keeps the SHA-256 of the secret and no
more: a slow, salted hash is for secrets that can be guessed, and NIST SP 800-63B (§5.1.2.2) asks
for one below 112 bits.  Browsers carry what `session_secret` makes of the secret instead, and the
ledger has the SHA-256 of that as well, so that nobody who reads a ledger can sign in with it.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import rows, schema
from runtime.database import Database
from runtime.errors import InvalidInput
from runtime.scopes import Scope, in_order

FORM = re.compile(r"lumbre_([a-z2-7]{8})_([A-Za-z0-9_-]{43})")
ID_BYTES, SECRET_BYTES = 5, 32
LONGEST_NAME = 64
SESSION = b"lumbre session"  # tells what browsers carry from the secret itself


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key: all but the key."""

    id: str
    name: str
    hash: str  # SHA-256 of the secret's characters, in hex
    session_hash: str  # SHA-256 of what sessions carry, in hex
    scopes: frozenset[Scope]
    created_at: float  # unix seconds
    rate: float | None = None  # invocations a second; None is any number
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None  # to the nearest minute or so

    def state(self, now: float) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"

    def fits(self, secret: str) -> bool:
        """Whether this is the key's secret."""
        return hmac.compare_digest(digest(secret), self.hash)

    def fits_session(self, secret: str) -> bool:
        """Whether this is what sessions of the key carry."""
        return hmac.compare_digest(digest(secret), self.session_hash)


def new_key(
    name: str,
    scopes: Collection[Scope],
    at: float,
    *,
    rate: float | None = None,
    expires_at: float | None = None,
    draw: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[Key, str]:
    """A key made at an instant (unix seconds), and its text, which nobody can make out again.

    InvalidInput for a name that cannot be shown, no scope, or a rate that is none.
    """
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidInput("name", f"must be 1 to {LONGEST_NAME} characters that can be printed")
    if not scopes:
        raise InvalidInput("scope", f"is missing: one or more of {', '.join(Scope)}")
    if rate is not None and not 0 < rate < float("inf"):
        raise InvalidInput("rate", f"is {rate:g}: give a number above 0, in invocations a second")
    id = base64.b32encode(draw(ID_BYTES)).decode().lower()
    secret = base64.urlsafe_b64encode(draw(SECRET_BYTES)).rstrip(b"=").decode()
    key = Key(
        id=id,
        name=name,
        hash=digest(secret),
        session_hash=digest(session_secret(secret)),
        scopes=frozenset(scopes),
        created_at=at,
        rate=rate,
        expires_at=expires_at,
    )
    return key, f"lumbre_{id}_{secret}"


def parts_of(text: str) -> tuple[str, str] | None:
    """The id and the secret of a key's text; None of what is no key."""
    found = FORM.fullmatch(text)
    return (found[1], found[2]) if found else None


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def session_secret(secret: str) -> str:
    """What a browser carries in place of a secret, which does not tell it (64 characters)."""
    return hmac.new(secret.encode(), SESSION, hashlib.sha256).hexdigest()


class Keys:
    """The keys of a ledger; `Ledger.keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = database.dialect.insert(schema.keys)

    async def add(self, key: Key) -> None:
        """Keep a new key.  Unavailable where it cannot be written, as with all below."""
        row = [_column(key, column.name) for column in schema.keys.columns]

        async def keep(connection: AsyncConnection) -> None:
            await connection.exec_driver_sql(self._insert, (rows.encode([tuple(row)]),))

        await self._database.write(keep)

    async def all(self) -> list[Key]:
        """Every key there was, the oldest first."""
        query = select(schema.keys).order_by(schema.keys.c.created_at, schema.keys.c.id)
        return [_key_of(row) for row in await self._database.read(query)]

    async def held(self) -> list[Key]:
        """Those that are not revoked, in no order; some may have expired."""
        query = select(schema.keys).where(schema.keys.c.revoked_at.is_(None))
        return [_key_of(row) for row in await self._database.read(query)]

    async def revoke(self, id: str, at: float) -> Key | None:
        """Revoke a key for good, once; the key as it is then, None where there is none."""
        c = schema.keys.c
        update = schema.keys.update().where(c.id == rows.storable(id), c.revoked_at.is_(None))

        async def change(connection: AsyncConnection) -> None:
            await connection.execute(update.values(revoked_at=at))

        await self._database.write(change)
        query = select(schema.keys).where(c.id == rows.storable(id))
        found = await self._database.read(query)
        return _key_of(found[0]) if found else None

    async def used(self, at: Mapping[str, float]) -> None:
        """Keep when keys were last used (unix seconds, by id), where that is later than known."""
        c = schema.keys.c
        later = or_(c.last_used_at.is_(None), c.last_used_at < bindparam("at"))
        update = schema.keys.update().where(c.id == bindparam("key"), later)
        given = [{"key": id, "at": at[id]} for id in sorted(at)]

        async def change(connection: AsyncConnection) -> None:
            if given:
                await connection.execute(update.values(last_used_at=bindparam("at")), given)

        await self._database.write(change)


def _column(key: Key, name: str) -> str | float | None:
    value = getattr(key, name)
    if name == "scopes":
        return " ".join(in_order(key.scopes))
    given: str | float | None = value
    return given


def _key_of(row: object) -> Key:
    columns = dict(row._mapping)  # type: ignore[attr-defined]
    scopes = frozenset(map(Scope, columns.pop("scopes").split()))
    return Key(**columns, scopes=scopes)
