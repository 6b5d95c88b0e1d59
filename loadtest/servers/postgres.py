"""A private PostgreSQL server."""

import os
import pwd
import re
import secrets
import shutil
import signal
from pathlib import Path

from loadtest.servers.guarded import (
    LOOPBACK,
    Guarded,
    Missing,
    ServerError,
    free_ports,
    run,
    until,
)

USER = "lumbre"
PLACES = Path("/usr/lib/postgresql")  # Debian's, one folder a version
LENT_USERS = ("postgres", "nobody")  # whom it runs as where we are root, which it refuses
START_LIMIT = 60.0  # seconds
STOP_LIMIT = 30.0
ASK_LIMIT = 60.0

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class PostgresServer:
    """A PostgreSQL server of our own: its port, password and data are nobody else's.

    It syncs to disk, as one in earnest does.  Where we are root, `folder` must be reachable for
    everybody, since the server runs as `postgres` or `nobody`: pytest's tmp_path is not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "postgres.log"
        self._programs = programs()
        self._user = _lent_user() if os.geteuid() == 0 else None
        (self.port,) = free_ports(1)
        self._password = secrets.token_hex(12)
        self._process: Guarded | None = None

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    def start(self) -> "PostgresServer":
        """Start it, with the data it had; returns when it takes connections."""
        if self._process and self._process.alive:
            raise ServerError("the PostgreSQL server runs already")
        if not self.data.exists():
            self._initialise()
        options = [part for item in SETTINGS.items() for part in ("-c", "{}={}".format(*item))]
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        self._process = process = Guarded(
            [*command, *options],
            os.environ,
            self.folder,
            self.log,
            end=signal.SIGQUIT,  # at once, and its shared memory goes with it
            user=self._user,
        )
        try:
            until("started", process, self._is_ready, START_LIMIT)
        except BaseException:
            process.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop it cleanly, connections and all; fine when it is stopped or was killed."""
        if self._process:
            self._process.send(signal.SIGINT)
            if not self._process.wait(STOP_LIMIT):
                self._process.kill()
            self._process = None

    def kill(self) -> None:
        """SIGKILL it, as a crash would; what was committed is there at the next start."""
        if self._process:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError("the PostgreSQL server does not run: start() it")
        return self._process.pid

    # ── databases ─────────────────────────────────────────────────────────────────────────────

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template0") -> str:
        """Make a database, as a copy of `template`, which nobody may be connected to; its URL."""
        self.sql(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and close whatever is connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def close_connections(self) -> None:
        """End every session from the server's side (57P01, admin_shutdown)."""
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What `psql` prints for one statement, without headings."""
        command = [str(self._programs / "psql"), "--no-psqlrc", "--tuples-only", "--no-align"]
        where = [f"--host={LOOPBACK}", f"--port={self.port}", f"--username={USER}"]
        environment = {**os.environ, "PGPASSWORD": self._password}
        line = [*command, *where, "--set=ON_ERROR_STOP=1", f"--command={statement}", database]
        return run(line, env=environment, timeout=ASK_LIMIT)

    # ── files ─────────────────────────────────────────────────────────────────────────────────

    def _initialise(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "password"
        secret.touch(0o600)
        secret.write_text(self._password)
        self.data.mkdir(0o700)
        if self._user:
            _must_be_reachable(self.folder)
            for path in (secret, self.data):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        how = [f"--pgdata={self.data}", f"--username={USER}", f"--pwfile={secret}"]
        rules = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        identity = {"user": self._user.pw_uid, "group": self._user.pw_gid} if self._user else {}
        groups: dict[str, object] = {"extra_groups": []} if self._user else {}
        try:
            command = [str(self._programs / "initdb"), *how, *rules]
            run(command, cwd=self.folder, timeout=ASK_LIMIT, **identity, **groups)
        except ServerError:
            shutil.rmtree(self.data)  # so that the next start tries again
            raise
        finally:
            secret.unlink()

    def _is_ready(self) -> bool:
        """Whether its pid file says so, in its last line."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return bool(lines) and lines[0] == str(self.pid) and lines[-1].strip() == "ready"


def programs() -> Path:
    """Where PostgreSQL's programs are: on PATH, or the newest of Debian's versions; or Missing."""
    needed = ("initdb", "postgres", "psql")
    places = [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    versions = [place for place in PLACES.glob("*/bin") if place.parent.name.isdigit()]
    places += sorted(versions, key=lambda place: int(place.parent.name), reverse=True)
    for place in places:
        if all(os.access(place / name, os.X_OK) for name in needed):
            return place
    raise Missing("PostgreSQL", "postgresql")


def _lent_user() -> pwd.struct_passwd:
    known = {user.pw_name: user for user in pwd.getpwall()}
    for name in LENT_USERS:
        if name in known:
            return known[name]
    raise ServerError(f"PostgreSQL refuses to run as root, and there is no user {LENT_USERS}")


def _must_be_reachable(folder: Path) -> None:
    for place in (folder, *folder.resolve().parents):
        if not place.stat().st_mode & 0o001:
            text = f"PostgreSQL runs as another user here, who cannot enter {place}"
            raise ServerError(f"{text}: chmod o+x it, or choose another folder")


def _quoted(name: str) -> str:
    if not re.fullmatch(r"[^\x00]{1,63}", name):
        raise ServerError(f"{name!r} cannot be a database's name")
    return '"' + name.replace('"', '""') + '"'
