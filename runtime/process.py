"""One replica as the worker sees it: its socket, its output, what it has in hand, its end."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from runtime.board import Board
from runtime.brokers import Delivery
from runtime.capture import Capture
from runtime.frames import Decoder, Kind, encode
from runtime.lifeline import Lifeline
from runtime.quarantine import Conduct
from runtime.zygote import Zygote

PIPE_CHUNK = 256 * 1024
MAX_CHUNKS = 8  # taken at once: a pipe holds less than that, and some threads never stop writing
LAST_WORDS = 0.5  # seconds that what a dead replica has sent may take to arrive


class State(StrEnum):
    """What a replica is doing."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Lease:
    """A delivery in a replica's hands."""

    delivery: Delivery
    sent_at: float  # unix seconds
    capture: Capture | None = None  # made by the first output
    reported: bool = False  # its outcome is told already; what the replica still says is ignored

    def written(self) -> str | None:
        """What it wrote to standard output and error, None if nothing."""
        return self.capture.text() if self.capture else None


@dataclass(slots=True, eq=False)
class Job:
    """What one frame asked for: one lease, or those of a batch."""

    leases: dict[str, Lease]
    started_at: float | None = None  # unix seconds; None while it waits behind another job
    number: int = 0  # from 1, in the order they were sent to this replica
    sent_at: float = 0.0  # monotonic seconds
    first_at: float = 0.0  # monotonic seconds, when no other was before it any more


class Owner(Protocol):
    """Whom a replica tells what happens to it: its pool."""

    def on_ready(self, process: "ReplicaProcess", setup: float) -> None: ...
    def on_unable(self, process: "ReplicaProcess", error: dict[str, Any]) -> None: ...
    def on_event(self, process: "ReplicaProcess", lease: Lease, body: bytes) -> None: ...
    def on_output(self, process: "ReplicaProcess", leases: list[Lease], data: bytes) -> None: ...
    def on_result(
        self, process: "ReplicaProcess", lease: Lease, header: dict[str, Any], body: bytes
    ) -> None: ...
    def on_error(self, process: "ReplicaProcess", lease: Lease, header: dict[str, Any]) -> None: ...
    def on_started(self, process: "ReplicaProcess", job: Job) -> None: ...
    def on_ended(self, process: "ReplicaProcess", status: int | None) -> None: ...


class ReplicaProcess(asyncio.Protocol):
    """A forked replica and the jobs sent to it, in the order it runs them."""

    def __init__(
        self, name: str, owner: Owner, gpu: str | None, conduct: Conduct | None = None
    ) -> None:
        self.name = name
        self.owner = owner
        self.gpu = gpu
        self.state = State.STARTING
        self.pid: int | None = None
        self.spawned_at = time.time()
        self.ready_at: float | None = None
        self.setup = 0.0  # seconds
        self.served = 0
        self.conduct = conduct or Conduct()
        self.jobs: deque[Job] = deque()
        self.start_output = Capture()
        self.killed_for: str | None = None
        self.drained_for: str | None = None  # why it was told to go, in words
        self.trouble: str | None = None  # why it could not start, in words
        self.lifeline = Lifeline(self.spawned_at)
        self._decoder = Decoder()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.WriteTransport | None = None
        self._output = -1
        self._zygote: Zygote | None = None
        self._board: Board | None = None
        self._sent = 0  # jobs
        self._ending: tuple[int | None] | None = None  # its wait status, once it is known
        self._loop = asyncio.get_running_loop()

    async def spawn(self, zygote: Zygote, order: dict[str, Any]) -> None:
        """Fork it; raises ZygoteGone where that cannot be."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        output, written = os.pipe()
        os.set_blocking(output, False)
        board = Board.create()
        try:
            with theirs:
                fds = [theirs.fileno(), written, board]
                zygote.fork(self.name, order, fds, self._ended)
            self._board = Board(board)
        except BaseException:
            ours.close()
            os.close(output)
            raise
        finally:
            os.close(written)
            os.close(board)
        self._output = output
        self._zygote = zygote
        self._loop.add_reader(self._output, self._read_some)  # one chunk a turn, however much
        await self._loop.create_unix_connection(lambda: self, sock=ours)

    @property
    def forked(self) -> bool:
        """Whether there is a process; before, its zygote is still being loaded."""
        return self._zygote is not None

    @property
    def load(self) -> int:
        """Jobs it has in hand."""
        return len(self.jobs)

    def send(self, job: Job, header: dict[str, Any], *body: bytes) -> None:
        """Give it a job; it runs at once if there is none before it."""
        self._sent += 1
        job.number, job.sent_at = self._sent, time.monotonic()
        if self._board:
            self._board.allow(job.number)
        self.jobs.append(job)
        if not self._outgoing:
            self._loop.call_soon(self._flush)  # all jobs of one turn of the loop leave at once
        self._outgoing.append(encode(Kind.INVOKE, header, *body))
        if len(self.jobs) == 1:
            self.lifeline.work(self._start(job))

    def _flush(self) -> None:
        frames, self._outgoing = self._outgoing, []
        if self._transport is not None:
            self._transport.write(b"".join(frames))

    def running(self) -> Job | None:
        """The job it is in, or is about to begin; those before it are done, and not yet told."""
        begun = self._board.begun if self._board else 0
        return next((job for job in self.jobs if job.number >= begun), None)

    def running_since(self, job: Job) -> float:
        """When the running job was begun, in monotonic seconds."""
        if self._board and self._board.begun == job.number:
            return max(job.sent_at, self._board.begun_at)
        return job.first_at or time.monotonic()

    def revoke(self, job: Job) -> bool:
        """Keep a job that waits behind others from being begun; False where it already was."""
        if self._board is None:
            return False
        self._board.revoke(job.number)
        return self._board.begun < job.number  # looked at afterwards, as the replica does

    def cancel(self, job: Job) -> None:
        """Ask a job to stop: if it runs, its `context.cancelled` turns True."""
        if self._board:
            self._board.cancelled = job.number
            self.prod()

    def prod(self) -> None:
        """Have it look at the board, and send the outcomes that wait in it for company."""
        if self._zygote:
            self._zygote.signal(self.name, signal.SIGUSR1)

    def kill(self, why: str) -> None:
        """SIGKILL it and whatever it has forked."""
        if self.killed_for is None and self.state is not State.ENDED:
            self.killed_for = why
            self._drain()
            if self._zygote:
                self._zygote.kill(self.name)

    def drain(self, why: str) -> None:
        """Give it nothing new; `why` it goes is told in words, and the first to say so is heard."""
        self.drained_for = self.drained_for or why
        self._drain()

    def leave(self) -> None:
        """Tell it that there is no more work: it exits by itself."""
        self._drain()
        if self._transport:
            self._flush()
            self._transport.close()

    def memory(self) -> int:
        """Bytes resident in memory; 0 once it is gone."""
        try:
            with open(f"/proc/{self.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            return 0

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for kind, header, body in self._decoder.feed(data):
            if kind is Kind.RESULT or kind is Kind.ERROR:
                self._finish(kind, header, body)
            elif kind is Kind.EVENT:
                if lease := self.jobs and self.jobs[0].leases.get(header["id"]):
                    self.owner.on_event(self, lease, body)
            elif kind is Kind.READY:
                self.pid, self.setup = header["pid"], header["setup"]
                self.ready_at = time.time()
                if self.state is State.STARTING:
                    self.state = State.READY
                    self.lifeline.ready(self.ready_at)
                    self.owner.on_ready(self, self.setup)
            elif kind is Kind.UNABLE:
                self.read_output()
                self.owner.on_unable(self, header["error"])

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end()

    def read_output(self) -> None:
        """Take what the replica has written so far."""
        for _ in range(MAX_CHUNKS):
            if not self._read_some():
                return

    def _read_some(self) -> bool:
        """Take one chunk of output; False if there was none."""
        if self._output < 0:
            return False
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._output, PIPE_CHUNK)
            if not data:
                self._close_output()
                return False
            leases = list(self.jobs[0].leases.values()) if self.jobs else []
            for lease in leases:
                lease.capture = lease.capture or Capture()
                lease.capture.add(data)
            if leases:
                self.owner.on_output(self, leases, data)
            else:
                self.start_output.add(data)
            return True
        return False

    def _finish(self, kind: Kind, header: dict[str, Any], body: bytes) -> None:
        if header["wrote"]:
            self.read_output()
        if not self.jobs or (lease := self.jobs[0].leases.pop(header["id"], None)) is None:
            return
        self.served += 1
        if kind is Kind.RESULT:
            self.conduct.in_a_row = 0
            self.conduct.proven_at = self.jobs[0].started_at or 0.0
            self.owner.on_result(self, lease, header, body)
        else:
            self.owner.on_error(self, lease, header)
        if not self.jobs[0].leases:
            self.jobs.popleft()
            if self.jobs:
                self._start(self.jobs[0])
            else:
                self.lifeline.rest(time.time())

    def _start(self, job: Job) -> float:
        """It runs this job from now on: the instant, in unix seconds."""
        job.started_at = at = time.time()
        job.first_at = time.monotonic()
        self.owner.on_started(self, job)
        return at

    def _drain(self) -> None:
        self.state = State.DRAINING
        self.lifeline.drain(time.time())

    def _ended(self, status: int | None) -> None:
        """Its process is gone; what it sent before that still counts, and comes first."""
        self._ending = (status,)
        if self._transport is None:
            self._end()
        else:
            self._drain()
            # A process it forked and that left its group may hold the socket open.
            self._loop.call_later(LAST_WORDS, self._end)

    def _end(self) -> None:
        if self._ending is None or self.state is State.ENDED:
            return
        self.read_output()
        self._close_output()
        if self._transport:
            self._transport.close()
        self.state = State.ENDED
        self.lifeline.end(time.time())
        self.owner.on_ended(self, *self._ending)
        if self._board:
            self._board.close()
            self._board = None

    def _close_output(self) -> None:
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            with contextlib.suppress(OSError):
                os.close(self._output)
            self._output = -1
