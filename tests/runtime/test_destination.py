"""Callbacks go to hosts that are listed, and to addresses that a host of its kind may have."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.destination import (
    Address,
    Allowed,
    Destination,
    check_url,
    host_of,
    is_inward,
    is_public,
)
from runtime.errors import ConfigurationError, InvalidInput

HOSTS = Allowed.parse(
    "hooks.example.com, api.example.com:8443, *.tenants.example.com, 192.0.2.7, [2001:db8::7]:8080,"
    " inner=private, *.svc.cluster.local:9000=private, localhost:7000=private"
)

# IANA's special-purpose address registries (IPv4 and IPv6), multicast, and what carries an IPv4
# address inside: written out here, and not taken from the code.
SPECIAL = [
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "::1/128",
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
]
INWARD = [
    ip_network(block)
    for block in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
]
NAT64 = ip_network("64:ff9b::/96")
NEVER = [network for network in SPECIAL if network not in (*INWARD, NAT64)]
METADATA = ip_address("169.254.169.254")


def drawn_from(networks: list[IPv4Network | IPv6Network]) -> st.SearchStrategy[Address]:
    return st.sampled_from(networks).flatmap(
        lambda network: st.integers(0, network.num_addresses - 1).map(
            lambda offset: network[offset]
        )
    )


def refusal(url: str, allowed: Allowed = HOSTS) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_url(url, allowed)
    assert caught.value.errors[0][0] == "/Lumbre-Callback"
    return caught.value.errors[0][1]


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        (
            "https://hooks.example.com/done?a=1&b=%20",
            Destination("https", "hooks.example.com", 443, "/done?a=1&b=%20"),
        ),
        ("http://hooks.example.com", Destination("http", "hooks.example.com", 80, "/")),
        ("http://hooks.example.com:443?x", Destination("http", "hooks.example.com", 443, "/?x")),
        ("HTTPS://Hooks.EXAMPLE.com./a", Destination("https", "hooks.example.com", 443, "/a")),
        ("https://api.example.com:8443/", Destination("https", "api.example.com", 8443, "/")),
        (
            "https://a.b.tenants.example.com/",
            Destination("https", "a.b.tenants.example.com", 443, "/"),
        ),
        ("http://192.0.2.7/", Destination("http", "192.0.2.7", 80, "/")),
        ("http://[2001:DB8:0::7]:8080/", Destination("http", "2001:db8::7", 8080, "/")),
        ("http://localhost:7000/", Destination("http", "localhost", 7000, "/")),
    ],
)
def test_a_url_of_a_listed_host_is_taken_apart(url: str, destination: Destination) -> None:
    assert check_url(url, HOSTS) == destination


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://hooks.example.com.evil.test/",
        "https://evilhooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://api.example.com/",
        "https://tenants.example.com/",
        "https://eviltenants.example.com/",
        "http://192.0.2.8/",
        "http://[2001:db8::7]/",
        "http://localhost/",
        "http://127.0.0.1:7000/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:192.0.2.7]/",
    ],
)
def test_a_host_or_port_that_is_not_listed_is_refused(url: str) -> None:
    assert "not allowed" in refusal(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://hooks.example.com/", "begin with https:// or http://"),
        ("file:///etc/passwd", "begin with https:// or http://"),
        ("hooks.example.com/done", "begin with https:// or http://"),
        ("https:hooks.example.com", "names no host"),
        ("https:///done", "names no host"),
        ("https://user:password@hooks.example.com/", "credentials"),
        ("https://hooks.example.com@evil.test/", "credentials"),
        ("https://hooks.example.com/#done", "fragment"),
        ("https://hooks.example.com/a b", "no URL"),
        ("https://hooks.example.com/\r\nX: y", "no URL"),
        ("https://hooks.example.com\\@evil.test/", "no URL"),
        ("https://hooks.exämple.com/", "no URL"),
        ("https://hooks.example.com:/", "names no host"),
        ("https://hooks.example.com:0/", "names no host"),
        ("https://hooks.example.com:65536/", "names no host"),
        ("https://hooks.example.com:443:443/", "names no host"),
        ("https://[hooks.example.com]/", "no"),
        ("https://[192.0.2.7]/", "no"),
        ("https://[fe80::1%25eth0]/", "no"),
        ("https://-hooks.example.com/", "names no host"),
        ("https://hooks..example.com/", "names no host"),
        ("https://./", "names no host"),
        ("", "no URL"),
    ],
)
def test_what_is_no_plain_web_url_is_refused_with_a_reason(url: str, said: str) -> None:
    assert said in refusal(url)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "192.0.2.007", "1.2.3.4.5", "0x"]
)
def test_numbers_that_resolvers_read_as_an_address_are_no_host(host: str) -> None:
    assert "names no host" in refusal(f"http://{host}/")


def test_a_long_url_is_refused() -> None:
    url = "https://hooks.example.com/"
    assert check_url(url + "x" * (2048 - len(url)), HOSTS)
    assert "2,048" in refusal(url + "x" * (2049 - len(url)))


def test_where_no_host_is_listed_callbacks_are_switched_off() -> None:
    nothing = Allowed.parse(" , ")
    assert not nothing
    assert "sends no callbacks" in refusal("https://hooks.example.com/", nothing)


@given(st.text(max_size=80) | st.from_regex(r"https?://[!-~]{1,60}", fullmatch=True))
@example("https://hooks.example.com:443/?q=http://a@b#c")
def test_whatever_is_asked_for_only_listed_hosts_come_out(url: str) -> None:
    try:
        destination = check_url(url, HOSTS)
    except InvalidInput:
        return
    assert HOSTS.covers(destination.host, destination.port)
    assert destination.target.startswith("/") and destination.target.isascii()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("*", "write name"),
        ("*.", "write name"),
        ("a.*.example.com", "write name"),
        ("https://hooks.example.com", "without a scheme"),
        ("hooks.example.com/done", "without a scheme"),
        ("hooks.example.com:99999", "write name"),
        ("hooks.example.com=public", "only =private"),
        ("*.10.0.0.1", "below an IP address"),
        ("localhost", "localhost=private"),
        ("app.localhost:80", "app.localhost:80=private"),
        ("user@example.com", "write name"),
        ("10.0.0.0/8", "without a scheme and a path"),
        ("fe80::1%eth0", "write name"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(entry: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match="LUMBRE_CALLBACK_HOSTS") as caught:
        Allowed.parse(f"hooks.example.com,{entry}")
    assert entry in str(caught.value) and said in str(caught.value)


def test_an_ipv6_address_may_be_listed_without_brackets() -> None:
    assert Allowed.parse("fd00:0::1").covers("fd00::1", 443)


@given(drawn_from(SPECIAL))
@example(METADATA)
@example(ip_address("2002:7f00:1::"))
@example(ip_address("::ffff:10.0.0.1"))
@example(ip_address("64:ff9b::808:808"))
def test_a_special_purpose_address_is_never_public(address: Address) -> None:
    assert not is_public(address)
    assert not HOSTS.permits("hooks.example.com", 443, address)
    assert not HOSTS.permits("a.tenants.example.com", 80, address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "193.0.6.139", "2606:4700::1111", "2a00:1450:4001::200e"]
)
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))
    assert HOSTS.permits("hooks.example.com", 443, ip_address(address))


@given(drawn_from(INWARD))
def test_inward_addresses_are_for_hosts_that_are_listed_as_private(address: Address) -> None:
    assert is_inward(address)
    assert HOSTS.permits("inner", 80, address)
    assert HOSTS.permits("hooks.svc.cluster.local", 9000, address)
    assert not HOSTS.permits("hooks.svc.cluster.local", 80, address)
    assert not HOSTS.permits("hooks.example.com", 80, address)


@given(drawn_from(NEVER))
@example(METADATA)
@example(ip_address("fe80::1%eth0"))
def test_link_local_and_the_like_are_for_no_name_at_all(address: Address) -> None:
    assert not is_inward(address)
    assert not HOSTS.permits("inner", 80, address)


def test_what_nat64_translates_is_judged_by_the_address_inside() -> None:
    def translated(inside: str) -> IPv6Address:
        return IPv6Address(int(NAT64.network_address) + int(IPv4Address(inside)))

    assert HOSTS.permits("inner", 80, translated("8.8.8.8"))
    assert HOSTS.permits("inner", 80, translated("10.0.0.1"))
    assert not HOSTS.permits("inner", 80, translated("169.254.169.254"))


def test_a_listed_address_is_itself_and_nothing_else() -> None:
    assert HOSTS.permits("192.0.2.7", 80, ip_address("192.0.2.7"))
    assert not HOSTS.permits("192.0.2.7", 80, ip_address("192.0.2.8"))
    assert not HOSTS.permits("192.0.2.7", 80, ip_address("8.8.8.8"))


def test_a_host_that_is_not_listed_may_reach_nothing() -> None:
    assert not HOSTS.permits("example.com", 443, ip_address("8.8.8.8"))
    assert not HOSTS.permits("hooks.example.com", 8443, ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    ("destination", "authority"),
    [
        (Destination("https", "a.example", 443, "/"), "a.example"),
        (Destination("https", "a.example", 80, "/"), "a.example:80"),
        (Destination("http", "a.example", 80, "/"), "a.example"),
        (Destination("http", "fd00::1", 8080, "/"), "[fd00::1]:8080"),
    ],
)
def test_the_host_header_says_the_port_where_it_is_not_the_usual(
    destination: Destination, authority: str
) -> None:
    assert destination.authority == authority


@given(st.text(max_size=60))
@example("https://[x")
def test_every_text_has_a_host_to_go_by_and_a_url_its_own(text: str) -> None:
    assert isinstance(host_of(text), str)
    assert host_of("https://Hooks.example.com:8443/done?a@b") == "hooks.example.com"
