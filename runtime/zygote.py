"""The node's side of the fork server: load function files, fork replicas, hear of their ends.

Everything here runs on the node's event loop and must be started from its main thread, since a
fork server is told to die with the thread that made it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

LOAD_TIMEOUT = 120.0  # seconds that importing one file may take

Answer = dict[str, Any]


class ZygoteGone(Exception):
    """The process that should fork is not there any more."""


class Line:
    """One control socket: orders out, answers in, `gone` once the other side has left."""

    def __init__(self, sock: socket.socket, on_answer: Callable[[Answer], None]) -> None:
        self.sock = sock
        self.on_answer = on_answer
        self.on_gone: Callable[[], None] = lambda: None
        self.open = True
        sock.setblocking(False)
        self._waiting: deque[tuple[bytes, list[int]]] = deque()  # orders that found no room
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, order: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send an order, behind those that wait until there is room; raises ZygoteGone.

        The caller may close its file descriptors then.
        """
        data = orjson.dumps(order)
        if self._waiting or not self._send(data, fds):
            self._waiting.append((data, [os.dup(fd) for fd in fds]))
            self._loop.add_writer(self.sock.fileno(), self._send_waiting)

    def close(self) -> None:
        if self.open:
            self.open = False
            self._loop.remove_reader(self.sock.fileno())
            self._loop.remove_writer(self.sock.fileno())
            while self._waiting:
                self._forget_first()
            self.sock.close()

    def _send(self, data: bytes, fds: Sequence[int]) -> bool:
        try:
            socket.send_fds(self.sock, [data], fds)
        except BlockingIOError:
            return False
        except OSError as error:
            raise ZygoteGone(str(error)) from error
        return True

    def _send_waiting(self) -> None:
        with contextlib.suppress(ZygoteGone):  # the reader hears of that, and closes
            while self._waiting and self._send(*self._waiting[0]):
                self._forget_first()
            if self._waiting:
                return
        self._loop.remove_writer(self.sock.fileno())

    def _forget_first(self) -> None:
        for fd in self._waiting.popleft()[1]:
            os.close(fd)

    def _read(self) -> None:
        try:
            data = self.sock.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.on_answer(orjson.loads(data))
        else:
            self.close()
            self.on_gone()


class Zygote:
    """A process that has imported one function file and forks its replicas."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.loaded: Answer = {}
        self.on_ended: dict[str, Callable[[int | None], None]] = {}  # by replica, with its status
        self.line: Line
        self._pids: dict[str, int] = {}  # by replica
        self._leaving = False

    @property
    def alive(self) -> bool:
        return self.line.open

    def fork(
        self, name: str, order: dict[str, Any], fds: list[int], ended: Callable[[int | None], None]
    ) -> None:
        """Fork a replica; `ended` is called once with its wait status, None if that is unknown."""
        self.line.send({"do": "fork", "name": name, **order}, fds)
        self.on_ended[name] = ended

    def kill(self, name: str) -> None:
        """SIGKILL a replica and everything in its process group."""
        self._tell({"do": "kill", "name": name})

    def signal(self, name: str, number: signal.Signals) -> None:
        self._tell({"do": "signal", "name": name, "signal": int(number)})

    def close(self) -> None:
        """Let it go: it ends its replicas and exits."""
        self.line.close()
        self._gone()

    def close_when_idle(self) -> None:
        """Let it go once its last replica has ended; until then it stays their parent."""
        self._leaving = True
        if not self.on_ended:
            self.close()

    def _tell(self, order: dict[str, Any]) -> None:
        if self.alive:
            with contextlib.suppress(ZygoteGone):  # it is going, and its replicas go with it
                self.line.send(order)

    def _answer(self, answer: Answer) -> None:
        if "forked" in answer:
            self._pids[answer["forked"]] = answer["pid"]
        if "ended" in answer and (ended := self.on_ended.pop(answer["ended"], None)):
            self._pids.pop(answer["ended"], None)
            ended(answer["status"])
            if self._leaving and not self.on_ended:
                self.close()

    def _gone(self) -> None:
        # The kernel kills its replicas with it (PR_SET_PDEATHSIG), but not what these have forked.
        for pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._pids.clear()
        ended, self.on_ended = self.on_ended, {}
        for callback in ended.values():
            callback(None)


class ForkServer:
    """The root process, with or without torch imported; started when it is first needed."""

    def __init__(self, *, torch: bool) -> None:
        self.torch = torch
        self.process: subprocess.Popen[bytes] | None = None
        self.line: Line | None = None
        self._ready: asyncio.Future[None] | None = None
        self._ended: dict[str, Callable[[int | None], None]] = {}  # by zygote
        self._count = 0

    async def start(self) -> None:
        """Be ready to load files; starts the process if it is not running."""
        if self.line is None or not self.line.open:
            self._reap()
            self._spawn()
        assert self._ready is not None
        await asyncio.shield(self._ready)

    async def load(self, file: str) -> Zygote:
        """Import a file in a zygote of its own.

        `zygote.loaded` tells what is in it, or its error; a file that hangs, or that takes the
        process with it, has an error too.  Raises ZygoteGone if the fork server itself fails.
        """
        await self.start()
        assert self.line is not None
        loop = asyncio.get_running_loop()
        self._count += 1
        name = f"{Path(file).stem}-{self._count}"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        loaded: asyncio.Future[int | None] = loop.create_future()

        def on_loaded(_: Answer) -> None:
            if not loaded.done():
                loaded.set_result(None)

        def on_ended(status: int | None) -> None:
            if not loaded.done() and status is None:
                loaded.set_exception(ZygoteGone("the fork server ended"))
            elif not loaded.done():
                loaded.set_result(status)

        zygote = Zygote(file)
        zygote.line = Line(ours, on_loaded)
        self._ended[name] = on_ended
        try:
            zygote.loaded = await self._import(name, zygote, theirs, loaded)
        except BaseException:
            zygote.line.close()
            raise
        zygote.line.on_answer = zygote._answer
        zygote.line.on_gone = zygote._gone
        if zygote.loaded["error"]:
            zygote.line.close()
        return zygote

    async def _import(
        self, name: str, zygote: Zygote, theirs: socket.socket, loaded: "asyncio.Future[int | None]"
    ) -> Answer:
        """Fork the zygote, and wait for what it tells of its file."""
        assert self.line is not None
        with tempfile.TemporaryDirectory(prefix="lumbre-") as folder:
            answer = Path(folder, "answer")
            with theirs:
                order = {"do": "fork", "name": name, "file": zygote.file, "answer": str(answer)}
                self.line.send(order, [theirs.fileno()])
            try:
                status = await asyncio.wait_for(loaded, LOAD_TIMEOUT)
            except TimeoutError:
                self.line.send({"do": "kill", "name": name})
                return _error("Timeout", f"importing took over {LOAD_TIMEOUT:g} s")
            if status is None:
                return dict(orjson.loads(answer.read_bytes()))
            what = f"the process ended while importing: {ending(status)}"
            return _error("ImportCrashed", what)

    def close(self) -> None:
        """End the process and, with it, its zygotes and their replicas."""
        if self.line:
            self.line.close()
        self._reap()

    def _reap(self) -> None:
        """Wait for the process, whose line is closed; it leaves by itself unless it hangs."""
        if self.process and self.process.poll() is None:
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ready = asyncio.get_running_loop().create_future()
        self.line = Line(ours, self._answer)
        self.line.on_gone = self._gone
        command = [sys.executable, "-m", "runtime.forkserver", str(theirs.fileno())]
        command += [str(os.getpid()), *(["torch"] if self.torch else [])]
        environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")])
        )
        with theirs:
            self.process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                env=environment,
                start_new_session=True,
            )

    def _answer(self, answer: Answer) -> None:
        if answer.get("ready") and self._ready and not self._ready.done():
            self._ready.set_result(None)
        if "ended" in answer and (ended := self._ended.pop(answer["ended"], None)):
            ended(answer["status"])

    def _gone(self) -> None:
        if self._ready and not self._ready.done():
            what = "torch" if self.torch else "what a replica needs"
            self._ready.set_exception(
                ZygoteGone(f"the fork server ended while importing {what}; its output says why")
            )
        ended, self._ended = self._ended, {}
        for callback in ended.values():
            callback(None)


def ending(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "killed with its zygote"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"signal {number} ({signal.Signals(number).name})"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def _error(kind: str, message: str) -> Answer:
    return {"functions": [], "files": {}, "error": {"type": kind, "message": message}}
