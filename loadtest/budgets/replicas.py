"""What one more torch replica costs: seconds until its first result, and memory of its own.

Replicas are forked here just as a node does it, with `runtime.zygote` and `runtime.process`, but
without a node.  They are compared with a fresh interpreter that imports torch and computes the
same.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

from loadtest.budgets.memory import private
from loadtest.budgets.pace import Pace
from loadtest.budgets.row import Check, Row, Sample
from loadtest.budgets.server import FUNCTIONS, BenchmarkError
from runtime.model import Message, Payload
from runtime.process import Job, Lease, ReplicaProcess
from runtime.zygote import ForkServer, Zygote

RESULT = b"16777216.0"  # 256³
FRESH = """
import sys, torch
torch.set_num_threads(1)
ones = torch.ones(256, 256)
print(float((ones @ ones).sum()), flush=True)
sys.stdin.read()
"""
START_LIMIT = 60.0  # seconds until a first result
LEAVE_LIMIT = 5.0  # seconds from being told to leave until it is killed
SLOWEST = 60.0  # milliseconds from the fork to the first result
FASTER = 30.0  # times a fresh interpreter's
LARGEST = 20.0  # megabytes
SMALLER = 8.0  # times less than a fresh interpreter's
ALIVE = 4  # replicas whose memory is averaged
MB = 1e6


@dataclass(frozen=True, slots=True)
class Started:
    """A process that has given its first torch result and idles."""

    pid: int
    seconds: float  # from just before the fork or spawn until its result was read


async def replica_start(pace: Pace) -> Row:
    """Seconds from the fork to the first result, beside those of a fresh interpreter."""
    forked, fresh, ratios = [], [], []
    async with zygote() as parent:
        async with replica(parent):
            pass  # the first fork of a zygote touches pages that later ones find ready
        for _ in range(pace.spawns):
            turn = []
            for _ in range(pace.forks):
                async with replica(parent) as started:
                    turn.append(1e3 * started.seconds)
            with fresh_interpreter() as started:
                fresh.append(1e3 * started.seconds)
            ratios.append(fresh[-1] / Sample.of(turn).median)
            forked += turn
    ours, theirs, ratio = Sample.of(forked), Sample.of(fresh), Sample.of(ratios)
    return Row(
        what="replica start to first torch result, warm fork server",
        measured=f"{ours.text('ms')}; {ratio.text('× faster')} than a fresh interpreter",
        checks=(
            Check(ours.median, SLOWEST, "ms"),
            Check(ratio.median, FASTER, "× faster than a fresh interpreter", at_least=True),
        ),
        detail=f"From just before the fork until the result of a 256 × 256 product was read, with"
        f" one thread. A fresh interpreter, from its spawn: {theirs.text('ms')}. In turns of"
        f" {pace.forks} forks and one spawn; a first fork is left out.",
    )


async def replica_memory() -> Row:
    """Private memory of an idle replica after its first answer, beside a fresh interpreter's."""
    async with zygote() as parent, _several(parent, ALIVE) as alive:
        forked = Sample.of(private(one.pid) / MB for one in alive)
        with fresh_interpreter() as started:
            fresh = private(started.pid) / MB
    mean = sum(forked.values) / len(forked.values)
    return Row(
        what="private memory of one more idle CPU replica",
        measured=f"{forked.text('MB')}, {fresh / mean:.1f} × less than a fresh interpreter's",
        checks=(
            Check(mean, LARGEST, "MB"),
            Check(fresh / mean, SMALLER, "× less than a fresh interpreter's", at_least=True),
        ),
        detail=f"Private_Clean + Private_Dirty of smaps_rollup, in 10⁶ bytes, of {ALIVE} replicas"
        f" that are alive at once and have each computed a 256 × 256 product; the mean is"
        f" {mean:.1f} MB. A fresh interpreter that did the same: {fresh:.0f} MB, though it shares"
        " torch's code with the fork server.",
    )


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """A warm fork server and a process that has imported the torch function."""
    server = ForkServer(torch=True)
    try:
        parent = await server.load(str(FUNCTIONS / "product.py"))
        if error := parent.loaded["error"]:
            raise BenchmarkError(f"{parent.file}: {error['type']}: {error['message']}")
        try:
            yield parent
        finally:
            parent.close()
    finally:
        server.close()


@asynccontextmanager
async def replica(parent: Zygote) -> AsyncIterator[Started]:
    """Fork a replica and have it compute; it ends afterwards."""
    errand = Errand()
    began = time.perf_counter()
    process = ReplicaProcess(f"product-{next(_numbers)}", errand, None)
    await process.spawn(parent, _order())
    try:
        await asyncio.wait_for(errand.done, START_LIMIT)
        took = time.perf_counter() - began
        assert process.pid is not None
        yield Started(process.pid, took)
    finally:
        process.leave()
        try:
            await asyncio.wait_for(asyncio.shield(errand.ended), LEAVE_LIMIT)
        except TimeoutError:
            process.kill("it does not leave")
            await errand.ended


_numbers = count(1)


class Errand:
    """One invocation for one replica: its owner, and the delivery it holds, in a node's place."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.message = Message("0" * 32, "product", "cpu", Payload(), time.time())
        self.done: asyncio.Future[None] = loop.create_future()  # once its result is there
        self.ended: asyncio.Future[None] = loop.create_future()  # once the replica is not

    def on_ready(self, process: ReplicaProcess, setup: float) -> None:
        parameters = self.message.payload.parameters or b""
        size = len(parameters)
        header = {"id": self.message.id, "attempt": 1, "deadline": None, "parameters": size}
        process.send(Job({self.message.id: Lease(self, time.time())}), header, parameters)

    def on_result(
        self, process: ReplicaProcess, lease: Lease, header: dict[str, Any], body: bytes
    ) -> None:
        if body == RESULT:
            self.done.set_result(None)
        else:
            self._fail(f"a replica computed {body[:200]!r}")

    def on_error(self, process: ReplicaProcess, lease: Lease, header: dict[str, Any]) -> None:
        self._fail(f"product raised {header['error']}")

    def on_unable(self, process: ReplicaProcess, error: dict[str, Any]) -> None:
        self._fail(f"a replica cannot be set up: {error}")

    def on_ended(self, process: ReplicaProcess, status: int | None) -> None:
        self._fail(f"a replica ended before its result: {process.start_output.text()}")
        self.ended.set_result(None)

    def on_started(self, process: ReplicaProcess, job: Job) -> None: ...
    def on_event(self, process: ReplicaProcess, lease: Lease, body: bytes) -> None: ...
    def on_output(self, process: ReplicaProcess, leases: list[Lease], data: bytes) -> None: ...
    def ack(self) -> None: ...
    def requeue(self, *, counted: bool = True, delay: float = 0.0) -> None: ...
    def reject(self, reason: str) -> None: ...

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(BenchmarkError(why))


@asynccontextmanager
async def _several(parent: Zygote, number: int) -> AsyncIterator[list[Started]]:
    if not number:
        yield []
        return
    async with replica(parent) as one, _several(parent, number - 1) as others:
        yield [one, *others]


def _order() -> dict[str, Any]:
    return {
        "attribute": "product",
        "device": "cpu",
        "gpu": None,
        "threads": 1,
        "simulated": False,
        "blobs": Path("/nonexistent").as_uri(),  # nothing here is large enough to be put there
        "max_result": 1 << 20,
    }


@contextmanager
def fresh_interpreter() -> Iterator[Started]:
    """Spawn a Python that imports torch and computes the same; it ends afterwards."""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", FRESH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    try:
        said = _first_line(process.stdout)
        took = time.perf_counter() - began
        if said.strip() != RESULT:
            raise BenchmarkError(f"a fresh interpreter said {said!r}")
        yield Started(process.pid, took)
    finally:
        process.kill()
        process.communicate()


def _first_line(output: IO[bytes] | None) -> bytes:
    assert output is not None
    return output.readline()
