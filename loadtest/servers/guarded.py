"""A server's process: started under a guard, signalled by its pid, gone with its parent."""

import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

LOOPBACK = "127.0.0.1"
GUARD = Path(__file__).parent / "guard.py"
PORTS = range(20_000, 32_000)  # below those that outgoing connections get
EVERY = 0.02  # seconds between two looks whether something is there
TAIL = 4000  # characters of a log that an error shows

T = TypeVar("T")


class ServerError(Exception):
    """A server does not do what was asked; says what it said."""


class Missing(ServerError):
    """Programs are not on this machine; says what to install."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f"no {what} on this machine; install it: apt-get install {package}")
        self.package = package  # Debian's name for it


class Guarded:
    """One running server, with its guard.

    `end` is the signal it gets when the process that started it is gone; SIGKILL follows.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        end: signal.Signals = signal.SIGKILL,
        user: pwd.struct_passwd | None = None,
    ) -> None:
        self.log = log
        uid, gid = (user.pw_uid, user.pw_gid) if user else (os.geteuid(), os.getegid())
        guard = [sys.executable, "-I", "-S", str(GUARD), str(uid), str(gid), str(int(end))]
        self._lifeline, theirs = socket.socketpair()
        with theirs, log.open("ab") as output:
            self._began = output.tell()
            self._guard = subprocess.Popen(
                [*guard, *command],
                env=dict(environment),
                cwd=folder,
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        told = self._lifeline.recv(32)
        if not told:
            raise ServerError(f"the guard of {command[0]} did not start: {self.said()[-TAIL:]}")
        self.pid = int(told)

    @property
    def alive(self) -> bool:
        return self._guard.poll() is None

    @property
    def status(self) -> int | None:
        """What it ended with, 128 + the signal where one ended it; None while it runs."""
        return self._guard.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the server itself; nothing happens once it has ended."""
        if self.alive:
            os.kill(self.pid, number)

    def wait(self, within: float) -> bool:
        """Wait until it and all it started are gone; False if they are still there."""
        try:
            self._guard.wait(within)
        except subprocess.TimeoutExpired:
            return False
        self._lifeline.close()
        return True

    def kill(self) -> None:
        """SIGKILL it, and return when all it started is gone too."""
        self.send(signal.SIGKILL)
        self._guard.wait()
        self._lifeline.close()

    def said(self) -> str:
        """What it wrote to its log since it started."""
        with self.log.open("rb") as log:
            log.seek(self._began)
            return log.read().decode(errors="replace")


def until(what: str, server: Guarded, probe: Callable[[], T], within: float) -> T:
    """The first true value of `probe`; ServerError where it takes longer, or the server ends."""
    deadline = time.monotonic() + within
    while not (value := probe()):
        if not server.alive or time.monotonic() > deadline:
            how = f"not {what} after {within:g} s" if server.alive else f"ended before it {what}"
            raise ServerError(f"the server {how}; it said:\n{server.said()[-TAIL:]}")
        time.sleep(EVERY)
    return value


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise ServerError(f"no {count} free ports on {LOOPBACK}")


def run(command: Sequence[str], **more: object) -> str:
    """What a program prints; ServerError with what it complained of, but not its arguments."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        complaint = (done.stderr or done.stdout)[-TAIL:]
        raise ServerError(f"{Path(command[0]).name} ended with {done.returncode}:\n{complaint}")
    return str(done.stdout)
