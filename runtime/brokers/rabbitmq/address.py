"""Where RabbitMQ is and how to get in: a URL, taken apart.

The form is RabbitMQ's own (`amqp[s]://user:password@host:port/vhost?option=value`), for several
nodes of one cluster too.  A password is never part of what is shown or raised.
"""

import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from runtime.errors import ConfigurationError
from runtime.settings import Settings

SETTING = "LUMBRE_BROKER_URL"
USERNAME, PASSWORD = "LUMBRE_BROKER_USERNAME", "LUMBRE_BROKER_PASSWORD"
PORTS = {"amqp": 5672, "amqps": 5671}
ENCODE = "in a user name, a password or a vhost write / ? # @ : % as %2F %3F %23 %40 %3A %25"


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server proves who it is, and we to it; None for what this system trusts."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None  # None where it is in the certificate's file
    server_name: str | None = None  # None for the host's name
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """For pika; ConfigurationError names the file that is missing or no good."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("CA certificate", self.ca, error) from None
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise _unusable("client certificate", self.certificate, error) from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """A RabbitMQ, in one vhost, for one user; `str` of it has no password."""

    hosts: tuple[tuple[str, int], ...]
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    tls: Tls | None = None
    heartbeat: int = 30  # seconds without a byte after which a connection is given up; 0 is never
    connection_timeout: float = 10.0  # seconds, to get through to a host
    blocked_timeout: float = 300.0  # seconds a connection may be blocked; then another is made
    apart: bool = False  # user and password were given apart, and are meant for every URL

    @classmethod
    def parse(
        cls,
        url: str,
        ca: Path | str | None = None,
        certificate: Path | str | None = None,
        key: Path | str | None = None,
    ) -> "Address":
        """Take a URL, or several with commas between them, apart; ConfigurationError says why not.

        Several hosts may stand in one URL (`amqp://u:p@a,b:5673/v`) or each in one of its own;
        user, password, vhost and options are then the same in all.  The files are for TLS and may
        be given as RabbitMQ's own options instead (`cacertfile`, `certfile`, `keyfile`).
        """
        parts = [_parse(one) for one in re.split(r",\s*(?=\w+://)", url.strip())]
        first, *others = parts
        if any(replace(other, hosts=first.hosts) != first for other in others):
            raise ConfigurationError(
                f"{SETTING}: its URLs must differ in nothing but their hosts: one cluster, one user"
            )
        hosts = tuple(host for part in parts for host in part.hosts)
        return replace(first, hosts=hosts, tls=_with_files(first.tls, ca, certificate, key))

    @classmethod
    def of(cls, settings: Settings) -> "Address":
        """The one that the settings name; a user and password given apart replace the URL's.

        They may hold any characters, since nothing is written in percents there.
        """
        address = cls.parse(
            settings.broker_url,
            ca=settings.broker_ca or None,
            certificate=settings.broker_certificate or None,
            key=settings.broker_key or None,
        )
        user, password = settings.broker_username, settings.broker_password.get_secret_value()
        if bool(user) != bool(password):
            missing, given = (PASSWORD, USERNAME) if user else (USERNAME, PASSWORD)
            raise ConfigurationError(
                f"{given} is set and {missing} is not: set both, or neither to take the URL's"
            )
        return replace(address, user=user, password=password, apart=True) if user else address

    def login(self, user: str, password: str) -> tuple[str, str]:
        """User and password for another URL of this server, which may name these itself."""
        return (
            (self.user, self.password)
            if self.apart
            else (user or self.user, password or self.password)
        )

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        hosts = ",".join(f"{f'[{h}]' if ':' in h else h}:{port}" for h, port in self.hosts)
        return f"{scheme}://{quote(self.user, safe='')}@{hosts}/{quote(self.vhost, safe='')}"

    def __repr__(self) -> str:
        return f"<Address {self}>"


def _parse(url: str) -> Address:
    scheme, found, rest = url.partition("://")
    if scheme not in PORTS or not found:
        raise ConfigurationError(
            f"{SETTING}: it must begin with amqp:// or amqps://, or be memory:// for no broker"
        )
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    credentials, _, hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    if "#" in rest:
        raise ConfigurationError(f"{SETTING}: a # cannot stand in it as it is: {ENCODE}")
    found_hosts = tuple(_host(host, PORTS[scheme]) for host in hosts.split(","))
    options = _options(query)
    return Address(
        hosts=found_hosts,
        user=unquote(user) if credentials else "guest",
        password=unquote(password) if credentials else "guest",
        vhost=unquote(path) or "/",
        tls=_tls(options) if scheme == "amqps" else None,
        heartbeat=math.ceil(_seconds(options, "heartbeat", 30, 60_000)),
        connection_timeout=_seconds(options, "connection_timeout", 10, 3600),
        blocked_timeout=_seconds(options, "blocked_connection_timeout", 300, 86_400),
    )


def _host(text: str, default: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]]*))(?::(\d{1,5}))?", text)
    port = int(match[3]) if match and match[3] else default
    if match is None or not 0 < port < 65536:  # what stands there may be half of a password
        raise ConfigurationError(f"{SETTING}: its host or port cannot be read; {ENCODE}")
    return match[1] or match[2] or "localhost", port


OPTIONS = frozenset(
    {
        "heartbeat",
        "connection_timeout",
        "blocked_connection_timeout",
        "cacertfile",
        "certfile",
        "keyfile",
        "verify",
        "server_name_indication",
    }
)


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := options.keys() - OPTIONS:
        named = [name for name in sorted(unknown) if name.isidentifier()]  # else it may be secret
        raise ConfigurationError(
            f"{SETTING}: no option {', '.join(named) or 'like that'} after its ?;"
            f" there are {', '.join(sorted(OPTIONS))}; {ENCODE}"
        )
    return options


def _seconds(options: Mapping[str, str], name: str, default: float, most: float) -> float:
    try:
        value = float(options.get(name, default))
        if not 0 <= value <= most or (name != "heartbeat" and not value):
            raise ValueError
    except ValueError:
        raise ConfigurationError(
            f"{SETTING}: {name}={options[name]!r} is no number of seconds up to {most:g}"
        ) from None
    return value


def _tls(options: Mapping[str, str]) -> Tls:
    verify = options.get("verify", "verify_peer")
    if verify not in ("verify_peer", "verify_none"):
        raise ConfigurationError(f"{SETTING}: verify={verify!r} is not verify_peer or verify_none")

    def file(name: str) -> Path | None:
        return Path(options[name]) if options.get(name) else None

    return Tls(
        ca=file("cacertfile"),
        certificate=file("certfile"),
        key=file("keyfile"),
        server_name=options.get("server_name_indication"),
        verify=verify == "verify_peer",
    )


def _with_files(
    tls: Tls | None,
    ca: Path | str | None,
    certificate: Path | str | None,
    key: Path | str | None,
) -> Tls | None:
    if tls is None:
        if ca or certificate or key:
            raise ConfigurationError(
                f"{SETTING}: certificates are given, but amqp:// has no TLS: write amqps://"
            )
        return None
    return replace(
        tls,
        ca=Path(ca) if ca else tls.ca,
        certificate=Path(certificate) if certificate else tls.certificate,
        key=Path(key) if key else tls.key,
    )


def _unusable(what: str, file: Path | None, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the {what} in {file} cannot be used: {error}")
