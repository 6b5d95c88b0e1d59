"""One process of a deployment, and its supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from threading import Lock

LAUNCH = Path(__file__).parent / "launch.py"
UP = b" is up"
DRAIN_LIMIT = 60.0  # seconds from SIGTERM until a process must have ended
TAIL = 1500  # characters of a log that a complaint shows


class Member:
    """A role's process: started, killed, and started again by whoever supervises it.

    `spawner` runs in one thread that outlives every member, since they end with the thread that
    started them.  Methods may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        spawner: Executor,
        complain: Callable[[str], None],
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.starts = 0
        self._command = [sys.executable, "-I", "-S", str(LAUNCH), *command]
        self._environment = dict(environment)
        self._folder = folder
        self._spawner = spawner
        self._complain = complain
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0  # where in the log the present process begins
        self._changing = Lock()  # one fault, or one start, at a time
        self._wanted = False  # it is to run: whatever ends it otherwise is a fault of its own

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    @property
    def ready(self) -> bool:
        """Whether the present process has said that it is up."""
        return self.pid is not None and UP in self._said()

    def start(self) -> None:
        """Start it, unless it runs."""
        with self._changing:
            self._start()

    def kill(self, back_after: float) -> None:
        """SIGKILL it, and start it again after so many seconds."""
        with self._changing:
            self._end(signal.SIGKILL)
            time.sleep(back_after)
            self._start()

    def terminate(self, back_after: float) -> None:
        """SIGTERM it, see that it drains, and start it again."""
        with self._changing:
            was_up = self.ready
            status = self._end(signal.SIGTERM)
            # Before it is up it has nothing to drain, and may not even handle signals.
            if status not in (0, None) and (was_up or status != -signal.SIGTERM):
                self._complain(f"{self.name} exited with {status} at SIGTERM:\n{self.tail()}")
            time.sleep(back_after)
            self._start()

    def pause(self, seconds: float) -> None:
        """SIGSTOP it for so long; its replicas go on."""
        with self._changing:
            if self.pid is not None:
                self._send(signal.SIGSTOP)
                time.sleep(seconds)
                self._send(signal.SIGCONT)

    def supervise(self) -> None:
        """Start it again if it has ended by itself, and complain of that."""
        if not self._changing.acquire(blocking=False):
            return  # somebody is at it
        try:
            if self._wanted and self._process and (status := self._process.poll()) is not None:
                self._complain(f"{self.name} ended by itself with {status}:\n{self.tail()}")
                time.sleep(0.5)
                self._start()
        finally:
            self._changing.release()

    def stop(self) -> None:
        """Have it drain for good."""
        with self._changing:
            was_up = self.ready
            status = self._end(signal.SIGTERM)
            if status not in (0, None) and (was_up or status != -signal.SIGTERM):
                self._complain(f"{self.name} exited with {status} at its end:\n{self.tail()}")

    def tail(self) -> str:
        """The end of what it has written since its last start."""
        return self._said().decode(errors="replace")[-TAIL:].strip()

    def _start(self) -> None:
        self._wanted = True
        if self.pid is not None:
            return
        self.starts += 1
        self._process = self._spawner.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self._began = log.tell()
            return subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _end(self, number: signal.Signals) -> int | None:
        """Signal it and wait; its exit status, None where it did not run."""
        self._wanted = False
        process = self._process
        if process is None or process.poll() is not None:
            return None
        self._send(number)
        try:
            return process.wait(DRAIN_LIMIT)
        except subprocess.TimeoutExpired:
            self._complain(f"{self.name} did not end {DRAIN_LIMIT:.0f} s after {number.name}")
            process.kill()
            process.wait()
            return None

    def _send(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def _said(self) -> bytes:
        """What the present process has written."""
        if not self.log.exists():
            return b""
        with self.log.open("rb") as log:
            log.seek(self._began)
            return log.read()
