"""A replica: the process that runs one function on one device.

It is forked from a zygote that imported the function's file, sets up its device, and serves frames
until its socket closes.  It knows nothing of brokers, HTTP or the ledger.  User code runs in its
main thread and is alone there: one invocation (or one batch) at a time.
"""

import contextlib
import ctypes
import faulthandler
import inspect
import logging
import os
import signal
import socket
import sys
import termios
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from fcntl import ioctl
from typing import TYPE_CHECKING, Any

import orjson

from runtime.blobs import Blobs
from runtime.board import Board
from runtime.context import Context
from runtime.errors import InvalidInput
from runtime.failure import describe_failure, spoils_the_process
from runtime.fitness import check_gpu
from runtime.frames import Decoder, Kind, encode
from runtime.function import Arguments, media_type_of
from runtime.model import INLINE_LIMIT, JSON, Part
from runtime.result import (
    OCTETS,
    ResultNotSerializable,
    ResultTooLarge,
    serialize,
    summary,
    to_json,
)

if TYPE_CHECKING:
    from runtime.sourcefile import SourceFile

FLUSH_AFTER = 0.001  # seconds an outcome may wait for others to leave in the same write
LIBC = ctypes.CDLL(None)

Header = dict[str, Any]


def main(source: "SourceFile", order: dict[str, Any], fds: list[int]) -> None:
    """Serve invocations until drained; called in the forked process, with its socket and output."""
    frames, output, page = fds
    board = Board(page)
    os.close(page)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):  # whole lines, even where PYTHONUNBUFFERED is set
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.enable()  # a replica that crashes leaves its Python stack as its last output
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # under memory pressure the kernel takes a replica, not the gateway
    _take_device(order)
    target = source.target(order["attribute"])
    Replica(target, order, socket.socket(fileno=frames), board).run()


def _take_device(order: dict[str, Any]) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = order["gpu"] or ""
    os.environ["OMP_NUM_THREADS"] = str(order["threads"])
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(order["threads"])


class Replica:
    """Runs one target for every frame that comes."""

    def __init__(
        self, target: Any, order: dict[str, Any], frames: socket.socket, board: Board
    ) -> None:
        self.order = order
        self.frames = frames
        self.board = board
        self.number = 0  # of the job that runs
        self.sending = threading.Lock()
        self.pid = os.getpid()
        self.target = target
        self.blobs = Blobs(order["blobs"])
        self.arguments = Arguments(target)
        self.declared = self.arguments.declared
        self.call: Any = target
        self.current: Context | None = None
        self.outgoing: list[bytes] = []
        self.served = 0
        self.media_type = media_type_of(self.arguments.hints.get("return")) or OCTETS

    def run(self) -> None:
        """Set up, say so, and serve."""
        signal.signal(signal.SIGUSR1, self._on_prod)
        began = time.perf_counter()
        try:
            self._set_up()
        except BaseException as error:
            self._send(encode(Kind.UNABLE, {"error": describe_failure(error)}))
            raise
        self._flush_output()
        self._send(encode(Kind.READY, {"setup": time.perf_counter() - began, "pid": self.pid}))
        decoder = Decoder()
        while data := self._receive():
            first = time.perf_counter()
            for _, header, body in decoder.feed(data):
                self.number += 1
                self.board.begin(self.number)
                if self.board.is_revoked(self.number):  # looked at after it is said to be begun
                    self.outgoing.append(_not_begun(header))
                    continue
                for frame in self.serve(header, body):
                    self.outgoing.append(frame)
                if time.perf_counter() - first > FLUSH_AFTER:
                    self._send()
                    first = time.perf_counter()
            self._send()

    def serve(self, header: Header, body: bytes) -> Iterator[bytes]:
        """Run what a frame asks for, and give the frames that tell how it went."""
        if self.declared.batching:
            yield from self._serve_batch(header, body)
        else:
            yield self._serve_one(header, body)

    def _send(self, *more: bytes) -> None:
        """Send the outcomes that wait, and `more` behind them; from any thread."""
        if os.getpid() != self.pid:
            os._exit(0)  # user code forked, and its child came back to us
        with self.sending:
            self._send_waiting(*more)

    def _send_waiting(self, *more: bytes) -> None:
        waiting = self.outgoing[:]
        if waiting or more:
            del self.outgoing[: len(waiting)]
            self.frames.sendall(b"".join((*waiting, *more)))

    def _receive(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            return self.frames.recv(256 * 1024)
        return b""

    def _set_up(self) -> None:
        if self.order["device"] == "gpu" and not self.order["simulated"]:
            check_gpu(self.order["gpu"])  # creates the CUDA context, too
        if inspect.isclass(self.target):
            instance = self.target()
            if hasattr(instance, "setup"):
                instance.setup(self._context({"id": "0" * 32}, ()))
            self.call = instance

    def _context(self, header: Header, parts: tuple[Part, ...]) -> Context:
        return Context(
            self.order["device"],
            header["id"],
            attempt=header.get("attempt", 1),
            deadline=header.get("deadline"),
            traceparent=header.get("traceparent"),
            simulated=self.order["simulated"],
            emit=self._emitter(header["id"]),
            blobs=self.blobs,
            parts=parts,
        )

    def _emitter(self, invocation: str) -> Callable[[dict[str, Any]], None]:
        def emit(event: dict[str, Any]) -> None:
            body = to_json(event)
            if len(body) > INLINE_LIMIT:  # the node keeps events in memory for who follows late
                raise ResultTooLarge(
                    f"an event is {len(body):,} bytes, over the limit of {INLINE_LIMIT:,}: tell"
                    " less, or write it with context.output_blob and tell the link"
                )
            self._send(encode(Kind.EVENT, {"id": invocation}, body))

        return emit

    def _serve_one(self, header: Header, body: bytes) -> bytes:
        began = time.perf_counter()
        context: Context | None = None
        try:
            parameters, parts = self._input(header, body)
            context = self.current = self._context(header, parts)
            arguments = self._arguments(parameters, parts)
            if self.arguments.takes_context:
                arguments[self.arguments.takes_context] = context
            result = self.call(**arguments)
            if inspect.isgenerator(result):
                result = self._drain(context, result)
            return self._outcome(context, result, began)
        except BaseException as error:
            return self._failed(header["id"], context, error, began)
        finally:
            self.current = None

    def _serve_batch(self, header: Header, body: bytes) -> Iterator[bytes]:
        began = time.perf_counter()
        contexts, items, start = [], [], 0
        for one in header["batch"]:
            end = start + one["parameters"]
            context = self._context(one, ())
            try:
                key = one.get("key")
                parameters = self.blobs.read(key) if key else body[start:end]
                items.append(self.arguments.build(parameters, {}))
                contexts.append(context)
            except Exception as error:
                yield self._failed(one["id"], context, error, began)
            start = end
        if not contexts:
            return
        self.current = contexts[0]
        try:
            extra = {n: contexts[0]} if (n := self.arguments.takes_context) else {}
            name = next(p for p in self.arguments.hints if p not in (n, "return"))
            results = self.call(**{name: items}, **extra)
            if not isinstance(results, list | tuple) or len(results) != len(items):
                raise ResultNotSerializable(
                    f"a batched function returns a list of {len(items)} results, one for each"
                    f" item it was given; this one returned {summary(results)}"
                )
        except BaseException as error:
            for context in contexts:
                yield self._failed(context.invocation_id, context, error, began)
            return
        finally:
            self.current = None
        for context, result in zip(contexts, results, strict=True):
            context.phases |= contexts[0].phases
            try:
                if isinstance(result, BaseException):
                    raise result
                yield self._outcome(context, result, began)
            except BaseException as error:
                yield self._failed(context.invocation_id, context, error, began)

    def _input(self, header: Header, body: bytes) -> tuple[bytes, tuple[Part, ...]]:
        """The parameters' JSON and the uploaded parts of a frame."""
        position = header["parameters"]
        parts = []
        for name, media_type, size, key, inline in header.get("parts", ()):
            data = body[position : position + size] if inline else None
            position += size if inline else 0
            parts.append(Part(name, media_type, size, data, key))
        if key := header.get("key"):
            return self.blobs.read(key), tuple(parts)
        return body[: header["parameters"]], tuple(parts)

    def _arguments(self, parameters: bytes, parts: tuple[Part, ...]) -> dict[str, Any]:
        blobs = {
            part.name: self.blobs.read(part.key or "") if part.data is None else part.data
            for part in parts
        }
        return dict(self.arguments.build(parameters, blobs))

    def _drain(self, context: Context, generator: Any) -> Any:
        """Send every value a generator yields; the last, or what it returns, is the result."""
        last: Any = None
        emit = self._emitter(context.invocation_id)
        while True:
            try:
                last = next(generator)
            except StopIteration as stop:
                return last if stop.value is None else stop.value
            emit({"value": orjson.Fragment(to_json(last))})

    def _outcome(self, context: Context, result: Any, began: float) -> bytes:
        body, media_type = serialize(result, self.media_type)
        header: Header = {
            "id": context.invocation_id,
            "run": time.perf_counter() - began,
            "wrote": self._flush_output(),
        }
        if context.phases:
            header["phases"] = context.phases
        if context.outputs:
            header["blobs"] = [[p.name, p.media_type, p.size, p.key] for p in context.outputs]
        if media_type != JSON:
            header["media_type"] = media_type
        if len(body) > self.order["max_result"]:
            raise ResultTooLarge(
                f"the result is {len(body):,} bytes, over the limit of"
                f" {self.order['max_result']:,}: return less, or write it with"
                " context.output_blob and return the link"
            )
        if len(body) > INLINE_LIMIT or media_type != JSON:
            key = f"{context.invocation_id}/.result"
            self.blobs.write(key, body)
            header |= {"key": key, "size": len(body)}
            body = body if len(body) <= INLINE_LIMIT else b""
        self.served += 1
        return encode(Kind.RESULT, header, body)

    def _failed(
        self, invocation: str, context: Context | None, error: BaseException, began: float
    ) -> bytes:
        told = describe_failure(error)
        if not isinstance(error, InvalidInput):
            # User code may have closed stderr, or put something else in its place.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(told["traceback"])
        header: Header = {
            "id": invocation,
            "run": time.perf_counter() - began,
            "error": told,
            "phases": context.phases if context else {},
            "wrote": self._flush_output(),
            "recycle": spoils_the_process(error),
        }
        return encode(Kind.ERROR, header)

    def _flush_output(self) -> bool:
        """Push buffered output into the pipe; True if any waits there to be read."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        LIBC.fflush(None)
        waiting = array("i", [0])
        with contextlib.suppress(OSError):  # user code may have closed or replaced fd 1
            ioctl(1, termios.FIONREAD, waiting)
        return waiting[0] > 0

    def _on_prod(self, *_: Any) -> None:
        """The worker prods: perhaps this job is cancelled, or outcomes have waited for long."""
        if self.current is not None and self.board.cancelled == self.number:
            self.current.cancelled = True
        if os.getpid() == self.pid and self.sending.acquire(blocking=False):
            try:
                self._send_waiting()
            finally:
                self.sending.release()


def _not_begun(header: Header) -> bytes:
    """The answer to a job that was cancelled while it waited; nobody reads more of it."""
    error = {"type": "Cancelled", "message": "it was not begun", "bases": [], "traceback": ""}
    told = {"id": _first_id(header), "run": 0.0, "error": error, "phases": {}}
    return encode(Kind.ERROR, told | {"wrote": False, "recycle": False})


def _first_id(header: Header) -> str:
    id: str = header["batch"][0]["id"] if "batch" in header else header["id"]
    return id
