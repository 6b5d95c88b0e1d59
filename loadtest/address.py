"""Where a load test sends: a URL, checked and resolved once, so that no request waits for a name.

A load test is an attack on whoever did not ask for it, so only this machine is allowed unless the
user says otherwise.
"""

import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from runtime.errors import ConfigurationError

PATIENCE = 5.0  # seconds for the first connection
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: the IP address that answered, and the name it goes by."""

    host: str
    port: int
    name: str  # as the URL says it, for certificates
    authority: str  # for the Host header
    url: str  # scheme and authority
    tls: ssl.SSLContext | None = None
    key: str | None = field(default=None, repr=False)  # the API key it asks for


def check_url(url: str, allow_remote: bool = False) -> Address:
    """The address of the server at a URL (`http://host:port`), which a connection was made to.

    ConfigurationError where the URL is none, where the server is not on this machine and that is
    not allowed, and where nothing answers.
    """
    scheme, name, port = _parts(url)
    hosts = _resolved(url, name, port)
    remote = [host for host in hosts if not ipaddress.ip_address(_bare(host)).is_loopback]
    if remote and not allow_remote:
        raise ConfigurationError(
            f"{url} is not on this machine ({remote[0]}): a load test of another one needs its"
            " owner's consent; say --allow-remote if you have it"
        )
    host = _answering(url, hosts, port)
    shown = f"[{name}]" if ":" in name else name
    authority = shown if port == PORTS[scheme] else f"{shown}:{port}"
    tls = ssl.create_default_context() if scheme == "https" else None
    return Address(host, port, name, authority, f"{scheme}://{authority}", tls)


def _parts(url: str) -> tuple[str, str, int]:
    example = "write it as http://127.0.0.1:8080"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is no URL ({error}): {example}") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigurationError(f"{url!r} is no http:// or https:// URL: {example}")
    if parts.path.rstrip("/") or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"{url!r} has more than scheme, host and port: {example}")
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme]


def _resolved(url: str, name: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigurationError(f"{url}: {name} is no known host ({error.strerror})") from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _answering(url: str, hosts: list[str], port: int) -> str:
    """The first of the addresses that takes a connection."""
    why = ""
    for host in hosts:
        try:
            socket.create_connection((host, port), PATIENCE).close()
        except OSError as error:
            why = error.strerror or str(error)
        else:
            return host
    raise ConfigurationError(f"no node answers at {url} ({why}): start one with `lumbre up`")


def _bare(host: str) -> str:
    return host.partition("%")[0]  # without the zone of a link-local address
