"""One function on one device: its warm replica, which is started anew after it has died.

Replicas are forked as a node forks them, by `runtime.zygote` and `runtime.process`, but there is no
node: a subject stands in the place of the pool, and gives its replica one call at a time.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from runtime.errors import LumbreError
from runtime.function import FunctionSpec
from runtime.model import JSON, Device, Message, Payload, new_id
from runtime.process import Job, Lease, ReplicaProcess
from runtime.zygote import Zygote, ZygoteGone, ending

START_LIMIT = 300.0  # seconds that setting up a replica may take
LEAVE_LIMIT = 5.0  # seconds from being told to leave until it is killed
LOOK_EVERY = 0.25  # seconds between two looks at a running replica's memory
FAILED_STARTS = 3  # in a row, after which no more are tried
LAST_OUTPUT = 300  # bytes of what a replica wrote before it died
MAX_RESULT = 64 * 2**20  # bytes

_numbers = count(1)


class CallFailed(LumbreError):
    """A call that gave no usable result; its text says why."""

    title = "Call failed"


class TookTooLong(CallFailed):
    """A call that ran over its limit; its replica was killed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where replicas of one device run here, and with what."""

    device: Device
    gpu: str | None  # the index for CUDA_VISIBLE_DEVICES
    simulated: bool
    threads: int  # torch's, on the CPU
    memory: int  # bytes a replica may hold before it is killed
    room: int  # bytes a function may take, on the device and on the host


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave."""

    result: Any  # None where it is no JSON
    run: float  # seconds in the replica, by its own clock
    phases: dict[str, float]  # seconds, from context.timer


class Subject:
    """A function on a device, as the suite calls it."""

    def __init__(
        self,
        spec: FunctionSpec,
        place: Place,
        zygote: Callable[[FunctionSpec], Awaitable[Zygote]],
        blobs: Path,
    ) -> None:
        self.spec = spec
        self.place = place
        self.fresh = True  # its replica has not answered a call yet, or there is none
        self._zygote = zygote
        self._blobs = blobs
        self._replica: _Replica | None = None
        self._failed_starts = 0

    async def start(self) -> float:
        """Have a replica; seconds from the fork until it is ready, 0 where there was one.

        CallFailed says why there can be none; after three failures in a row none is tried.
        """
        if self._replica and self._replica.usable:
            return 0.0
        await self.close()
        if self._failed_starts >= FAILED_STARTS:
            raise CallFailed(f"no replica of {self.spec.name} starts on {self.place.device}")
        self._failed_starts += 1
        try:
            zygote = await self._zygote(self.spec)
        except ZygoteGone as error:
            raise CallFailed(f"{self.spec.file} cannot be imported: {error}") from error
        self._replica = _Replica(self.spec, self.place, self._blobs)
        took = await self._replica.start(zygote, self._order())
        self._failed_starts = 0
        return took

    async def call(self, parameters: dict[str, Any], limit: float) -> Answer:
        """Call the function; CallFailed where it gives no result within `limit` seconds."""
        await self.start()
        assert self._replica
        id = new_id()
        try:
            answer = await self._replica.call(id, orjson.dumps(parameters), limit)
        except asyncio.CancelledError:
            self._replica.kill("interrupted")
            raise
        finally:
            shutil.rmtree(self._blobs / id, ignore_errors=True)
        self.fresh = False
        return answer

    async def close(self) -> None:
        """End the replica, if there is one."""
        replica, self._replica = self._replica, None
        self.fresh = True
        if replica:
            await replica.close()

    def _order(self) -> dict[str, Any]:
        return {
            "attribute": self.spec.attribute,
            "device": self.place.device,
            "gpu": self.place.gpu,
            "simulated": self.place.simulated,
            "threads": self.place.threads,
            "blobs": self._blobs.as_uri(),
            "max_result": MAX_RESULT,
        }


class _Replica:
    """One replica and the call it has in hand: its owner, in a pool's place."""

    def __init__(self, spec: FunctionSpec, place: Place, blobs: Path) -> None:
        loop = asyncio.get_running_loop()
        self.spec = spec
        self.place = place
        self.blobs = blobs
        self.process = ReplicaProcess(f"{spec.name}-{place.device}-{next(_numbers)}", self, None)
        self.usable = True
        self._ready: asyncio.Future[CallFailed | None] = loop.create_future()
        self._answer: asyncio.Future[CallFailed | Answer] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()

    async def start(self, zygote: Zygote, order: dict[str, Any]) -> float:
        began = time.perf_counter()
        try:
            await self.process.spawn(zygote, order)
        except ZygoteGone as error:
            self.usable = False
            self._ended.set_result(None)
            raise CallFailed(f"no replica can be forked: {error}") from error
        await asyncio.wait([self._ready], timeout=START_LIMIT)
        if not self._ready.done():
            self.kill("setup")
            raise CallFailed(f"setting up a replica took longer than {START_LIMIT:g} s")
        if failure := self._ready.result():
            self.usable = False
            raise failure
        return time.perf_counter() - began

    async def call(self, id: str, parameters: bytes, limit: float) -> Answer:
        now = time.time()
        self._answer = asyncio.get_running_loop().create_future()
        message = Message(id, self.spec.name, self.place.device, Payload(parameters), now)
        header = {"id": id, "attempt": 1, "deadline": now + limit, "parameters": len(parameters)}
        batched = {"batch": [header]} if self.spec.batching else header
        self.process.send(Job({id: Lease(_Handed(message), now)}), batched, parameters)
        await self._wait(limit)
        answer = self._answer.result()
        if isinstance(answer, CallFailed):
            raise answer
        return answer

    async def _wait(self, limit: float) -> None:
        """Until there is an answer; whoever takes too long, or too much memory, is killed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        while not self._answer.done():
            left = until - loop.time()
            if left <= 0:
                self.kill("timeout")
                raise TookTooLong(f"took longer than {limit:g} s")
            if self.process.memory() > self.place.memory:
                self.kill("memory")
                raise CallFailed(f"held more than {self.place.memory:,} bytes of memory")
            await asyncio.wait([self._answer], timeout=min(left, LOOK_EVERY))

    def kill(self, why: str) -> None:
        self.usable = False
        self.process.kill(why)

    async def close(self) -> None:
        """Have it leave, and see it go."""
        if self._ended.done():
            return
        if self.usable:
            self.usable = False
            self.process.leave()
            await asyncio.wait([self._ended], timeout=LEAVE_LIMIT)
        if not self._ended.done():
            self.process.kill("it does not leave")
            await asyncio.wait([self._ended], timeout=LEAVE_LIMIT)

    # ── what its process tells ────────────────────────────────────────────────────────────────

    def on_ready(self, process: ReplicaProcess, setup: float) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def on_unable(self, process: ReplicaProcess, error: dict[str, Any]) -> None:
        if not self._ready.done():
            why = f"a replica cannot be set up: {_line(error)}"
            self._ready.set_result(CallFailed(why))

    def on_result(
        self, process: ReplicaProcess, lease: Lease, header: dict[str, Any], body: bytes
    ) -> None:
        result = None
        if header.get("media_type", JSON) == JSON:
            if key := header.get("key"):  # it was too long for the frame
                body = (self.blobs / key).read_bytes()
            result = orjson.loads(body)
        self._tell(Answer(result, header["run"], header.get("phases", {})))

    def on_error(self, process: ReplicaProcess, lease: Lease, header: dict[str, Any]) -> None:
        if header["recycle"]:  # such as a CUDA error, after which nothing more can be computed
            self.kill("it is spoilt")
        self._tell(CallFailed(_line(header["error"])))

    def on_ended(self, process: ReplicaProcess, status: int | None) -> None:
        self.usable = False
        why = f"the replica ended: {ending(status)}"
        said = process.start_output.last(LAST_OUTPUT).strip()
        if not self._ready.done():
            self._ready.set_result(CallFailed(why + (f": {said}" if said else "")))
        self._tell(CallFailed(why))
        if not self._ended.done():
            self._ended.set_result(None)

    def on_started(self, process: ReplicaProcess, job: Job) -> None: ...
    def on_event(self, process: ReplicaProcess, lease: Lease, body: bytes) -> None: ...
    def on_output(self, process: ReplicaProcess, leases: list[Lease], data: bytes) -> None: ...

    def _tell(self, answer: CallFailed | Answer) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)


class _Handed:
    """A delivery that came from no queue, and so goes back to none."""

    def __init__(self, message: Message) -> None:
        self.message = message

    def ack(self) -> None: ...
    def requeue(self, *, counted: bool = True, delay: float = 0.0) -> None: ...
    def reject(self, reason: str) -> None: ...


def _line(error: dict[str, Any]) -> str:
    """An error in one line."""
    return " ".join(f"{error['type']}: {error['message']}".split())
