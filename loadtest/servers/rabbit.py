"""A private RabbitMQ node."""

import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from loadtest.servers import certificate
from loadtest.servers.guarded import (
    LOOPBACK,
    Guarded,
    Missing,
    ServerError,
    free_ports,
    run,
    until,
)

GUEST = "guest"
PLACES = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/opt/homebrew/opt/rabbitmq/sbin")
START_LIMIT = 120.0  # seconds; 4 were measured on a quiet machine
STOP_LIMIT = 60.0
ASK_LIMIT = 60.0
STARTED = "completed with"  # the end of what it prints when all of it is started
WATERMARK = "0.4"  # RabbitMQ's own default, as a share of memory
# Milliseconds between two counts of a quorum queue, for listings; 5000 if nobody says otherwise.
ADVANCED = "[{rabbit, [{quorum_tick_interval, 1000}]}].\n"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """What a queue holds."""

    name: str
    ready: int
    leased: int
    consumers: int
    type: str  # `quorum`, `classic`, `stream`


class RabbitServer:
    """A RabbitMQ node of our own: its name, ports, cookie, data and log are nobody else's.

    `folder` is short (Erlang's paths are limited) and keeps the data from one start to the next;
    `config` are lines of rabbitmq.conf.  With `tls` it takes TLS connections only, with the
    `certificates`.  Without the management plugin it starts faster and its users and vhosts are
    made slower.  `cores` are the schedulers it may use.
    """

    def __init__(
        self,
        folder: Path,
        *,
        plugins: Sequence[str] = ("rabbitmq_management",),
        config: Mapping[str, str] | None = None,
        tls: bool = False,
        cores: int = 2,
    ) -> None:
        self.folder = folder
        self.log = folder / "rabbit.log"
        self.certificates: certificate.Certificates | None = None
        self._plugins = tuple(plugins)
        self._config = dict(config or {})
        self._tls = tls
        self._cores = cores
        self._scripts = scripts()
        self.port, self.management_port, self._dist_port, self._epmd_port = free_ports(4)
        self.node = f"lumbre-{self.port}@localhost"
        self._process: Guarded | None = None

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    def start(self) -> "RabbitServer":
        """Start it, with what it had before; returns when all of it takes connections."""
        if self._process and self._process.alive:
            raise ServerError("the RabbitMQ node runs already")
        self._write_files()
        command = [str(self._scripts / "rabbitmq-server"), "-noinput"]
        self._process = process = Guarded(command, self._environment(), self.folder, self.log)
        try:
            until("started", process, lambda: STARTED in process.said(), START_LIMIT)
        except BaseException:
            process.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop it cleanly; fine when it is stopped or was killed."""
        if self._process:
            self._process.send(signal.SIGCONT)
            self._process.send(signal.SIGTERM)
            if not self._process.wait(STOP_LIMIT):
                self._process.kill()
            self._process = None

    def kill(self) -> None:
        """SIGKILL it, as a crash would; what it confirmed as durable is there at the next start.

        But RabbitMQ 3.10 writes down twice a second which quorum queues there are, for itself
        (names.dets): one that is younger than that takes nothing any more after a crash.
        """
        if self._process:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop its process and let it go on afterwards: like a partition, its sockets stay open."""
        process = self._running()
        process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send(signal.SIGCONT)

    @property
    def pid(self) -> int:
        return self._running().pid

    def _running(self) -> Guarded:
        if self._process is None:
            raise ServerError("the RabbitMQ node does not run: start() it")
        return self._process

    # ── addresses ─────────────────────────────────────────────────────────────────────────────

    def url(self, user: str = GUEST, password: str = GUEST, vhost: str = "/") -> str:
        """Where it takes AMQP connections: amqp://, or amqps:// with `tls`."""
        scheme = "amqps" if self._tls else "amqp"
        user, password, vhost = (quote(part, safe="") for part in (user, password, vhost))
        return f"{scheme}://{user}:{password}@{LOOPBACK}:{self.port}/{vhost}"

    @property
    def management_url(self) -> str:
        """Its management API: http://, or https:// with `tls`."""
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self.management_port}"

    # ── what tests do to it ───────────────────────────────────────────────────────────────────

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` says; it takes a second or two."""
        command = [str(self._scripts / "rabbitmqctl"), "--quiet", "--node", self.node, *arguments]
        return run(command, env=self._environment(), timeout=ASK_LIMIT)

    def add_vhost(self, name: str) -> None:
        """Make a vhost where guest may do everything."""
        if self._managed:
            path = quote(name, safe="")
            self._ask("PUT", f"vhosts/{path}", {})
            self._ask("PUT", f"permissions/{path}/{GUEST}", _ALL)
        else:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "--vhost", name, GUEST, ".*", ".*", ".*")

    def remove_vhost(self, name: str) -> None:
        """Drop a vhost with its queues; its connections are closed."""
        if self._managed:
            self._ask("DELETE", f"vhosts/{quote(name, safe='')}")
        else:
            self.ctl("delete_vhost", name)

    def add_user(self, name: str, password: str, vhost: str = "/") -> None:
        """Make a user who may do everything in one vhost, and nothing elsewhere."""
        if self._managed:
            user = quote(name, safe="")
            self._ask("PUT", f"users/{user}", {"password": password, "tags": ""})
            self._ask("PUT", f"permissions/{quote(vhost, safe='')}/{user}", _ALL)
        else:
            self.ctl("add_user", name, password)
            self.ctl("set_permissions", "--vhost", vhost, name, ".*", ".*", ".*")

    def close_connections(self, reason: str = "closed by a test") -> None:
        """Close every AMQP connection from the server's side (320, CONNECTION_FORCED)."""
        self.ctl("close_all_connections", reason)

    def set_memory_alarm(self, on: bool) -> None:
        """Block every connection that publishes, as when memory is short; or let them go on."""
        self.ctl("set_vm_memory_high_watermark", "0" if on else WATERMARK)

    def set_consumer_timeout(self, seconds: float) -> None:
        """Close channels that hold a delivery longer; for channels opened from now on."""
        timeout, tick = int(seconds * 1000), max(100, int(seconds * 250))
        self.ctl("eval", f"application:set_env(rabbit, consumer_timeout, {timeout}).")
        self.ctl("eval", f"application:set_env(rabbit, channel_tick_interval, {tick}).")

    def queues(self, vhost: str = "/") -> list[QueueRow]:
        """Every queue of a vhost, as it was at most about a second ago."""
        columns = ("name", "messages_ready", "messages_unacknowledged", "consumers", "type")
        said = self.ctl("list_queues", "--vhost", vhost, *columns, "--formatter", "json")
        return [QueueRow(*(row[column] for column in columns)) for row in json.loads(said)]

    @property
    def _managed(self) -> bool:
        return "rabbitmq_management" in self._plugins

    def _ask(self, method: str, path: str, body: object = None) -> None:
        """Ask the management plugin, as guest."""
        connection = self._connection()
        token = base64.b64encode(f"{GUEST}:{GUEST}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        try:
            connection.request(method, f"/api/{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status >= 300:
            raise ServerError(f"RabbitMQ: {method} {path} gave {answer.status}: {said}")

    def _connection(self) -> http.client.HTTPConnection:
        place: tuple[str, int] = (LOOPBACK, self.management_port)
        if self.certificates is None:
            return http.client.HTTPConnection(*place, timeout=ASK_LIMIT)
        context = ssl.create_default_context(cafile=self.certificates.authority)
        return http.client.HTTPSConnection(*place, timeout=ASK_LIMIT, context=context)

    # ── files ─────────────────────────────────────────────────────────────────────────────────

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)  # Erlang refuses one that others may read
        if self._tls and self.certificates is None:
            self.certificates = certificate.make(self.folder / "tls")
        settings = {
            **self._listeners(),
            "log.console": "false",
            "log.file.level": "info",
            "loopback_users.guest": "true",
            "disk_free_limit.absolute": "50MB",
        }
        if self._managed:
            kind = "tcp" if self.certificates is None else "ssl"
            settings |= {
                f"management.{kind}.ip": LOOPBACK,
                f"management.{kind}.port": str(self.management_port),
                **self._identity("management.ssl"),
            }
        lines = [f"{name} = {value}" for name, value in (settings | self._config).items()]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "advanced.config").write_text(ADVANCED)
        (self.folder / "plugins").write_text(f"[{','.join(self._plugins)}].\n")

    def _listeners(self) -> dict[str, str]:
        if self.certificates is None:
            return {"listeners.tcp.1": f"{LOOPBACK}:{self.port}"}
        return {
            "listeners.tcp": "none",
            "listeners.ssl.1": f"{LOOPBACK}:{self.port}",
            **self._identity("ssl_options"),
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "false",
        }

    def _identity(self, prefix: str) -> dict[str, str]:
        """What it proves itself by, where it does."""
        if self.certificates is None:
            return {}
        return {
            f"{prefix}.cacertfile": str(self.certificates.authority),
            f"{prefix}.certfile": str(self.certificates.server),
            f"{prefix}.keyfile": str(self.certificates.server_key),
        }

    def _environment(self) -> dict[str, str]:
        """Ours, with nothing of a RabbitMQ or an Erlang that the machine has besides."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET", "LUMBRE_"))
        }
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        cores = f"+S {self._cores}:{self._cores} +sbwt none +sbwtdcpu none +sbwtdio none"
        return kept | {
            "HOME": str(self.folder),  # where the cookie is
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_ALLOW_INPUT": "1",  # so that the script becomes the node, and is no parent
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{cores} {loopback}",
            "RABBITMQ_CTL_ERL_ARGS": f"+S 1:1 {loopback}",
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",  # any: two may run at once
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
        }


_ALL = {"configure": ".*", "write": ".*", "read": ".*"}


def scripts() -> Path:
    """Where RabbitMQ's own scripts are; Missing where they are not.

    Not Debian's /usr/sbin/rabbitmq-server, which runs as the user rabbitmq, in its own folders.
    """
    for place in PLACES:
        if os.access(f"{place}/rabbitmq-server", os.X_OK) and shutil.which("erl"):
            return Path(place)
    found = shutil.which("rabbitmq-server")
    if found and shutil.which("erl") and not found.startswith("/usr/sbin/"):
        return Path(found).resolve().parent
    raise Missing("RabbitMQ", "rabbitmq-server")
