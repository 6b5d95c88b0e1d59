"""Sign what is sent to a callback, and verify it where it is received.

The scheme is Standard Webhooks 1.0.0 (standardwebhooks.com): three headers, and HMAC-SHA256 over
id, timestamp and body with full stops between them.  Libraries in a dozen languages verify it;
`verify` does the same for a receiver in Python that imports only this.
"""

import binascii
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

from runtime.errors import ConfigurationError

SETTING = "LUMBRE_CALLBACK_SECRET"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"  # of a secret that is written in base64
MIN_SECRET = 24  # bytes; the specification's least
TOLERANCE = 300.0  # seconds that sender's and receiver's clocks may be apart
HOW = f"make one with: echo {PREFIX}$(openssl rand -base64 32)"


class Unverified(ValueError):
    """It was not signed with this secret, or not just now: answer 401, and do nothing with it."""


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Read LUMBRE_CALLBACK_SECRET: one secret, or several with spaces between them.

    Each is `whsec_` and base64, or else plain text.  What is sent carries a signature for each, so
    that a secret is changed without a gap: the new one is added, receivers follow, and the old one
    is taken away.  ConfigurationError for none, or one that is unreadable or too short.
    """
    secrets = tuple(map(_secret, text.split()))
    if not secrets:
        raise ConfigurationError(f"{SETTING} is empty, and callbacks are signed: {HOW}")
    return secrets


def sign(secrets: Sequence[bytes], id: str, at: float, body: bytes) -> dict[str, str]:
    """The headers that vouch for a body, sent at `at` (unix seconds) under an id without dots."""
    timestamp = str(int(at))
    signatures = [_signature(secret, id, timestamp, body) for secret in secrets]
    return {ID: id, TIMESTAMP: timestamp, SIGNATURE: " ".join(signatures)}


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,  # unix seconds; None asks the clock
) -> str:
    """Return the id of a callback that was signed with `secret`; Unverified if it was not.

    `secret` is written as in LUMBRE_CALLBACK_SECRET, and `body` are the bytes as they came, before
    anything parsed them.  The same id may come again, after an answer that was lost: whoever
    remembers ids does its work once.
    """
    given = {name.lower(): value for name, value in headers.items()}
    id, timestamp, signatures = (given.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not (id and timestamp and signatures):
        raise Unverified(f"it is not signed: it lacks one of {ID}, {TIMESTAMP} and {SIGNATURE}")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        raise Unverified(f"{TIMESTAMP} is no number of seconds")
    age = (time.time() if now is None else now) - int(timestamp)
    if abs(age) > tolerance:
        raise Unverified(f"it was sent {age:.0f} s ago, by the clock here: it may be a replay")
    for known in parse_secrets(secret):
        expected = _signature(known, id, timestamp, body).encode()
        for signature in signatures.split(" "):
            if hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
                return id
    raise Unverified("no signature is right: the body was changed, or the secret is another one")


def _signature(secret: bytes, id: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((id.encode("utf-8", "replace"), timestamp.encode(), body))
    return f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}"


def _secret(text: str) -> bytes:
    """The bytes of one secret; errors never quote it."""
    secret = text.encode()
    if text.startswith(PREFIX):
        try:
            secret = b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigurationError(f"{SETTING} has no base64 behind {PREFIX}: {HOW}") from None
    if len(secret) < MIN_SECRET:
        raise ConfigurationError(
            f"{SETTING} has a secret of {len(secret)} bytes, and at least {MIN_SECRET} are"
            f" needed: {HOW}"
        )
    return secret
