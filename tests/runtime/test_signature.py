"""A signature vouches for id, instant and body, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ConfigurationError
from runtime.signature import Unverified, parse_secrets, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "another-secret-in-plain-text"
PLAIN = "a-secret-in-plain-text-of-30-b"
NOW = 1_614_265_330.0


def test_it_is_the_signature_that_the_libraries_of_standard_webhooks_make() -> None:
    # The example of standardwebhooks.com's own libraries.
    headers = sign(
        parse_secrets(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(max_size=200), st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True))
def test_what_was_signed_verifies(body: bytes, id: str) -> None:
    for secret in (SECRET, PLAIN):
        headers = sign(parse_secrets(secret), id, NOW, body)
        assert verify(secret, {k.title(): v for k, v in headers.items()}, body, now=NOW) == id


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_changed_body_never_verifies(body: bytes, data: st.DataObject) -> None:
    headers = sign(parse_secrets(SECRET), "id", NOW, body)
    changed = data.draw(st.binary(max_size=50).filter(lambda other: other != body))
    with pytest.raises(Unverified, match="no signature is right"):
        verify(SECRET, headers, changed, now=NOW)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("webhook-id", "another", "no signature is right"),
        ("webhook-timestamp", "1614265331", "no signature is right"),
        ("webhook-timestamp", "1614265330.0", "no number"),
        ("webhook-timestamp", "-1", "no number"),
        ("webhook-timestamp", "9" * 5000, "no number"),
        ("webhook-timestamp", "1614265029", "replay"),
        ("webhook-timestamp", "1614265631", "replay"),
        ("webhook-timestamp", "", "not signed"),
        ("webhook-signature", "v1,", "no signature is right"),
        ("webhook-signature", "v1,\udcff", "no signature is right"),
        ("webhook-signature", "", "not signed"),
        ("webhook-id", "", "not signed"),
    ],
)
def test_a_changed_header_does_not_verify(name: str, value: str, said: str) -> None:
    headers = sign(parse_secrets(SECRET), "id", NOW, b"{}") | {name: value}
    with pytest.raises(Unverified, match=said):
        verify(SECRET, headers, b"{}", now=NOW)


def test_another_version_of_the_signature_is_ignored() -> None:
    headers = sign(parse_secrets(SECRET), "id", NOW, b"{}")
    signature = headers["webhook-signature"]
    older = headers | {"webhook-signature": signature.replace("v1,", "v1a,")}
    with pytest.raises(Unverified):
        verify(SECRET, older, b"{}", now=NOW)
    both = headers | {"webhook-signature": f"v1a,xyz {signature}"}
    assert verify(SECRET, both, b"{}", now=NOW) == "id"


def test_a_secret_is_changed_without_a_gap() -> None:
    headers = sign(parse_secrets(f"{PLAIN} {SECRET}"), "id", NOW, b"{}")
    assert verify(SECRET, headers, b"{}", now=NOW) == "id"
    assert verify(PLAIN, headers, b"{}", now=NOW) == "id"
    with pytest.raises(Unverified):
        verify(OTHER, headers, b"{}", now=NOW)
    new_only = sign(parse_secrets(PLAIN), "id", NOW, b"{}")
    assert verify(f"{SECRET} {PLAIN}", new_only, b"{}", now=NOW) == "id"


def test_the_clock_is_asked_where_no_time_is_given() -> None:
    with pytest.raises(Unverified, match="replay"):
        verify(SECRET, sign(parse_secrets(SECRET), "id", NOW, b"{}"), b"{}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("whsec_no-base64!", "no base64"),
        ("whsec_ä", "no base64"),
        ("whsec_c2hvcnQ=", "5 bytes"),
        ("short", "5 bytes"),
        (f"{SECRET} short", "5 bytes"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_and_never_quoted(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match="LUMBRE_CALLBACK_SECRET") as caught:
        parse_secrets(text)
    assert said in str(caught.value) and "openssl rand" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in text.split())
