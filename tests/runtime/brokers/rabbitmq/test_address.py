import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.brokers.rabbitmq import Address, Tls
from runtime.errors import ConfigurationError
from runtime.settings import Settings

TEXT = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())


def test_a_url_that_says_little_means_the_defaults() -> None:
    address = Address.parse("amqp://")
    assert address == Address(hosts=(("localhost", 5672),))
    assert (address.user, address.password, address.vhost) == ("guest", "guest", "/")
    assert Address.parse("amqps://rabbit").hosts == (("rabbit", 5671),)


@given(user=TEXT, password=TEXT, vhost=TEXT)
def test_any_characters_may_stand_percent_encoded(user: str, password: str, vhost: str) -> None:
    parts = (quote(part, safe="") for part in (user, password, vhost))
    address = Address.parse("amqp://{}:{}@rabbit:1234/{}?heartbeat=5".format(*parts))
    assert (address.user, address.password, address.vhost) == (user, password, vhost)
    assert (address.hosts, address.heartbeat) == ((("rabbit", 1234),), 5)


@given(password=TEXT)
def test_a_password_never_shows(password: str) -> None:
    secret = f"sesame{password}sesame"
    address = Address.parse(f"amqp://user:{quote(secret, safe='')}@rabbit/v")
    for shown in (str(address), repr(address), f"{address}"):
        assert secret not in shown
        assert quote(secret, safe="") not in shown
    assert str(address) == "amqp://user@rabbit:5672/v"


@pytest.mark.parametrize(
    ("path", "vhost"), [("", "/"), ("/", "/"), ("/%2F", "/"), ("/team%2Fa", "team/a"), ("/x", "x")]
)
def test_the_vhost_is_what_follows_the_host(path: str, vhost: str) -> None:
    assert Address.parse(f"amqp://rabbit{path}").vhost == vhost


def test_several_hosts_stand_in_one_url_or_in_several() -> None:
    hosts = (("a", 5672), ("b", 5673), ("::1", 5672))
    assert Address.parse("amqp://u:p@a,b:5673,[::1]/v").hosts == hosts
    several = Address.parse("amqp://u:p@a/v,amqp://u:p@b:5673/v, amqp://u:p@[::1]/v")
    assert several.hosts == hosts
    assert str(several) == "amqp://u@a:5672,b:5673,[::1]:5672/v"


def test_urls_of_different_users_are_no_cluster() -> None:
    with pytest.raises(ConfigurationError, match="nothing but their hosts"):
        Address.parse("amqp://u:p@a/v,amqp://u:other@b/v")


@pytest.mark.parametrize(
    "url",
    [
        "http://rabbit",
        "rabbit:5672",
        "amqp://u:secret@rabbit:port",
        "amqp://u:secret@rabbit:99999",
        "amqp://u:sec/ret@rabbit",
        "amqp://u:sec#ret@rabbit",
        "amqp://u:sec?ret@rabbit",
        "amqp://u:12?sec@rabbit",
        "amqp://u:secret@rabbit?heartbeat=often",
        "amqp://u:secret@rabbit?heartbeat=-1",
        "amqp://u:secret@rabbit?connection_timeout=0",
        "amqp://u:secret@rabbit?colour=red",
        "amqps://u:secret@rabbit?verify=perhaps",
    ],
)
def test_a_url_that_is_none_says_what_to_change_and_keeps_the_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LUMBRE_BROKER_URL") as raised:
        Address.parse(url)
    said = str(raised.value).replace("number of seconds", "")
    assert "sec" not in said and "ret@" not in said
    assert raised.value.__cause__ is None or raised.value.__suppress_context__


def test_options_are_seconds() -> None:
    url = "amqp://rabbit?heartbeat=0&connection_timeout=2.5&blocked_connection_timeout=60"
    address = Address.parse(url)
    told = (address.heartbeat, address.connection_timeout, address.blocked_timeout)
    assert told == (0, 2.5, 60)


def test_a_heartbeat_of_half_a_second_is_not_none_at_all() -> None:
    assert Address.parse("amqp://rabbit?heartbeat=0.5").heartbeat == 1


def test_certificates_come_by_argument_or_by_option() -> None:
    url = "amqps://rabbit?cacertfile=/ca.pem&certfile=/c.pem&keyfile=/k.pem"
    tls = Tls(Path("/ca.pem"), Path("/c.pem"), Path("/k.pem"))
    assert Address.parse(url).tls == tls
    assert Address.parse("amqps://rabbit", "/ca.pem", "/c.pem", "/k.pem").tls == tls
    assert Address.parse(url, ca="/other.pem").tls == Tls(
        Path("/other.pem"), tls.certificate, tls.key
    )


def test_certificates_without_tls_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="write amqps://"):
        Address.parse("amqp://rabbit", ca="/ca.pem")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("/nowhere/ca.pem")):
        Tls(ca=Path("/nowhere/ca.pem")).context()
    with pytest.raises(ConfigurationError, match=re.escape("/nowhere/c.pem")):
        Tls(certificate=Path("/nowhere/c.pem")).context()
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="CA certificate"):
        Tls(ca=tmp_path / "ca.pem").context()


# ── credentials apart from the URL ────────────────────────────────────────────────────────────


def settings(url: str = "amqp://someone:else@rabbit/v", **apart: str) -> Settings:
    return Settings.model_validate({"broker_url": url} | apart)


@given(user=TEXT, password=TEXT)
def test_credentials_given_apart_replace_those_of_the_url_as_they_are(
    user: str, password: str
) -> None:
    address = Address.of(settings(broker_username=user, broker_password=password))
    assert (address.user, address.password, address.vhost) == (user, password, "v")
    assert address.login("of", "its URL") == (user, password)


def test_without_them_the_urls_count_and_a_second_url_may_have_its_own() -> None:
    address = Address.of(settings())
    assert (address.user, address.password) == ("someone", "else")
    assert address.login("", "") == ("someone", "else")
    assert address.login("monitor", "p") == ("monitor", "p")


@pytest.mark.parametrize(("given", "missing"), [("username", "PASSWORD"), ("password", "USERNAME")])
def test_one_of_them_alone_is_refused_and_named(given: str, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"LUMBRE_BROKER_{missing} is not") as raised:
        Address.of(settings(**{f"broker_{given}": "s3cret"}))
    assert "s3cret" not in str(raised.value)


def test_a_password_given_apart_never_shows() -> None:
    address = Address.of(settings(broker_username="lumbre", broker_password="s3cret"))
    assert "s3cret" not in f"{address} {address!r}"
    assert "else" not in f"{address} {address!r}"
