"""Where a callback may go: the hosts an operator lists, and the addresses that are never reached.

A URL is taken apart once, strictly, and only what came out of that is ever connected to: no second
parser can read it differently.  Names say nothing about where they lead, so that addresses are
judged as well, by whoever connects, at the moment of connecting.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal
from urllib.parse import urlsplit

from runtime.errors import ConfigurationError, InvalidInput

HEADER = "Lumbre-Callback"
SETTING = "LUMBRE_CALLBACK_HOSTS"
MAX_URL = 2048  # characters
WEB_PORTS = frozenset({80, 443})  # of a host that is listed without a port

Address = IPv4Address | IPv6Address
Scheme = Literal["http", "https"]

_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # what RFC 3986 allows, nothing else
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label like this makes resolvers read the whole name as an IPv4 address: 127.1, 0x7f000001.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")

_INWARD_V4 = tuple(
    IPv4Network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "100.64.0.0/10",  # carriers, and the pods of some clouds (RFC 6598)
    )
)
_INWARD_V6 = (IPv6Network("fc00::/7"), IPv6Network("::1/128"))
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
# Of IANA's special-purpose registries, what `is_global` of some Python takes for global.
_SPECIAL_V4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_UNICAST = IPv6Network("2000::/3")  # all that IANA has given out
_SPECIAL_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


@dataclass(frozen=True, slots=True)
class Destination:
    """A callback URL, taken apart."""

    scheme: Scheme
    host: str  # in lower case: a DNS name, or an IP address without brackets
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One of the hosts that are listed."""

    host: str  # a name, an IP address, or `.example.com` for every name below it
    port: int | None  # None stands for WEB_PORTS
    private: bool  # it may lead inward

    def covers(self, host: str, port: int) -> bool:
        if port != self.port and not (self.port is None and port in WEB_PORTS):
            return False
        if self.host.startswith("."):
            return host.endswith(self.host)
        return host == self.host


@dataclass(frozen=True, slots=True)
class Allowed:
    """The hosts that callbacks may go to; false where there is none."""

    entries: tuple[_Entry, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """Read LUMBRE_CALLBACK_HOSTS: hosts with commas between them; empty allows no callback.

        `hooks.example.com` is that host on ports 80 and 443, `hooks.example.com:8443` on this port
        only, `*.example.com` every name below example.com, and `10.1.2.3` or `[fd00::1]:8080` that
        very address.  A name must lead to public addresses, unless `=private` is behind it
        (`hooks.internal=private`): then to those of this machine and of private networks as well,
        but never to link-local ones, where clouds keep credentials.  ConfigurationError otherwise.
        """
        return cls(tuple(_entry(part.strip()) for part in text.split(",") if part.strip()))

    def __bool__(self) -> bool:
        return bool(self.entries)

    def covers(self, host: str, port: int) -> bool:
        """Whether this host, a name or an address, is listed with this port."""
        return any(entry.covers(host, port) for entry in self.entries)

    def permits(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection to `address` may be made, which `host` was resolved to."""
        entries = [entry for entry in self.entries if entry.covers(host, port)]
        if not entries:
            return False
        if _address(host) is not None:  # listed as an address, which leads nowhere else
            return address == _address(host)
        private = any(entry.private for entry in entries)
        return is_public(address) or (private and is_inward(address))


def check_url(url: str, allowed: Allowed) -> Destination:
    """Take a callback URL apart; InvalidInput where nothing may be sent to it."""
    if not allowed:
        raise _refused(
            "cannot be used: this Lumbre sends no callbacks; ask whoever runs it to list the host"
            f" in {SETTING}"
        )
    destination = _taken_apart(url)
    if not allowed.covers(destination.host, destination.port):
        raise _refused(
            f"goes to {destination.host} port {destination.port}, which is not allowed here; ask"
            f" whoever runs this Lumbre to list it in {SETTING}"
        )
    return destination


def host_of(url: str) -> str:
    """The host that a callback's place in line goes by; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_public(address: Address) -> bool:
    """Whether an address is an ordinary one of the Internet.

    Stricter than `is_global` of the standard library, which depends on Python's version and takes
    multicast and addresses that carry an IPv4 address inside (6to4, NAT64) for global.
    """
    if isinstance(address, IPv4Address):
        special = address.is_multicast or address.is_reserved
        return address.is_global and not special and not _within(address, _SPECIAL_V4)
    if address.scope_id is not None:
        return False
    return address in _UNICAST and not _within(address, _SPECIAL_V6)


def is_inward(address: Address) -> bool:
    """Whether an address is this machine's or a private network's (or one of NAT64's)."""
    if isinstance(address, IPv4Address):
        return _within(address, _INWARD_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        inside = IPv4Address(int(address) & 0xFFFF_FFFF)
        return is_public(inside) or is_inward(inside)
    return _within(address, _INWARD_V6)


def _within(address: Address, networks: tuple[IPv4Network, ...] | tuple[IPv6Network, ...]) -> bool:
    return any(address in network for network in networks)


def _taken_apart(url: str) -> Destination:
    if len(url) > MAX_URL:
        raise _refused(f"has {len(url):,} characters: send a URL of at most {MAX_URL:,}")
    if not _URL.fullmatch(url):
        raise _refused("is no URL: percent-encode spaces and characters that are not ASCII")
    if "#" in url:
        raise _refused("has a fragment, which is never sent: leave out # and what follows it")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused("is no URL: send one such as https://hooks.example.com/done") from None
    if "@" in parts.netloc:
        raise _refused(
            "holds credentials, which anybody could read in the record: leave them out, and check"
            " the signature instead"
        )
    scheme: Scheme
    if parts.scheme == "https":
        scheme = "https"
    elif parts.scheme == "http":
        scheme = "http"
    else:
        raise _refused("has to begin with https:// or http://")
    host, port = _host_and_port(parts.netloc)
    if host is None:
        raise _refused("names no host: send a URL such as https://hooks.example.com/done")
    path = parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    return Destination(scheme, host, port or (443 if scheme == "https" else 80), target)


def _refused(detail: str) -> InvalidInput:
    return InvalidInput(HEADER, detail)


def _host_and_port(authority: str) -> tuple[str | None, int | None]:
    """The host as Destination has it, None for what is no host; the port where one is given."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None, None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port < 65536:
        return None, None
    return _canonical(match["host"]), port


def _canonical(host: str) -> str | None:
    """A host in its one spelling; None for what is neither a DNS name nor an IP address."""
    if host.startswith("["):
        address = _address(host[1:-1])
        return None if address is None or address.version == 4 else str(address)
    host = host.lower().removesuffix(".")
    if _address(host) is not None:
        return host
    labels = host.split(".")
    named = all(_LABEL.fullmatch(label) for label in labels) and len(host) < 254
    return host if named and not _NUMERIC.fullmatch(labels[-1]) else None


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _entry(text: str) -> _Entry:
    authority, mark, option = text.partition("=")
    if mark and option.strip() != "private":
        raise _wrong(text, "only =private may stand behind a host")
    authority = authority.strip()
    if "/" in authority:
        raise _wrong(text, "write the host without a scheme and a path")
    if authority.count(":") > 1 and not authority.startswith("["):
        authority = f"[{authority}]"  # a bare IPv6 address
    below = authority.startswith("*.")
    host, port = _host_and_port(authority.removeprefix("*."))
    if host is None:
        raise _wrong(
            text, "write name, name:port, *.example.com, an IP address, or one with =private"
        )
    address = _address(host)
    if below and address is not None:
        raise _wrong(text, "there is nothing below an IP address: list the address itself")
    if not mark and (host == "localhost" or host.endswith(".localhost")):
        raise _wrong(text, f"that is this machine: write {text}=private if callbacks may reach it")
    return _Entry(f".{host}" if below else host, port, bool(mark))


def _wrong(entry: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{SETTING} has an entry {entry[:80]!r} it cannot use: {what}")
