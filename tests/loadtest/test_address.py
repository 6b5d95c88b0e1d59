"""Where a load test may send, and what is said where it may not or cannot."""

import socket
from typing import Any

import pytest

from loadtest.address import check_url
from runtime.errors import ConfigurationError
from tests.loadtest.standin import StandIn


async def test_a_server_of_this_machine_is_found_by_its_name_or_address() -> None:
    async with StandIn() as server:
        found = check_url(f"http://localhost:{server.port}/")
        assert found.host == "127.0.0.1"  # where it listens, whatever else the name means
        assert found.authority == f"localhost:{server.port}"
        assert check_url(server.url).url == server.url
        assert check_url(server.url).tls is None
        assert check_url(server.url.replace("http", "https")).tls is not None


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("127.0.0.1:8080", "no http"),
        ("ftp://127.0.0.1", "no http"),
        ("http://", "no http"),
        ("http://127.0.0.1:99999", "no URL"),
        ("http://127.0.0.1:80/invoke", "more than scheme, host and port"),
        ("http://me@127.0.0.1:80", "more than scheme, host and port"),
        ("http://no.such.host.invalid:80", "no known host"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_what_to_write(url: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        check_url(url)


def test_a_server_that_is_not_there_is_said_to_be_missing_and_how_to_start_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listened on
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=r"no node answers at .* `lumbre up`"):
            check_url(url)


@pytest.mark.parametrize(
    "addresses", [["192.0.2.7"], ["127.0.0.1", "192.0.2.7"], ["2001:db8::1"], ["fe80::1%2"]]
)
def test_another_machine_needs_consent(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, 80)) for address in addresses]

    def connect(where: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(where[0])
        return socket.socket()

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ConfigurationError, match="--allow-remote"):
        check_url("http://somewhere.example")
    assert not tried
    assert check_url("http://somewhere.example", allow_remote=True).host == addresses[0]
