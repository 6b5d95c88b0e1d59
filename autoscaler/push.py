"""KEDA's external scaler, served by a gateway: a fast way from 0 replicas to 1.

A ScaledObject whose trigger is `external-push` has KEDA listen here (StreamIsActive), and scale
from zero when told, at the publish instead of at its next poll; KEDA ignores it when told that a
queue rests, and asks (IsActive, GetMetrics) at its own pace for that and for how many replicas
there are to be.  StreamMetricSpec is not served, and KEDA does without: targets change with the
ScaledObject only.

It speaks plain gRPC on a port of its own, without TLS and without keys: a NetworkPolicy has KEDA's
namespace alone reach it.  Needs grpcio and protobuf: the extra `push`.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc  # type: ignore[import-untyped]

from autoscaler.activity import Activity, read_trigger
from autoscaler.backlog import Backlogs
from autoscaler.externalscaler import (
    SERVICE,
    activity,
    metric_spec,
    metric_value,
    read_metrics_request,
    read_reference,
)
from runtime.errors import (
    BadRequest,
    ConfigurationError,
    InvalidInput,
    LumbreError,
    NotFound,
    Overloaded,
)

STREAMS = 10_000  # ScaledObjects that listen; each takes about 20 kB
CALLS = STREAMS + 2_000  # calls at once, those that listen among them
MOST_BYTES = 64 * 1024  # of a message: a ScaledObject's name and its trigger's metadata
GRACE = 1.0  # seconds that the last answers may take

# KEDA has one connection for all its ScaledObjects (external_scaler.go: connectionPool), sends no
# pings of its own, and waits for ever where a connection has no room for another call: so there is
# always room, and too many are refused instead.
OPTIONS = (
    ("grpc.so_reuseport", 0),  # else a second gateway would share the port without a word
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", MOST_BYTES),
    # By default grpc cancels some of more than 1000 calls that come at once, as they do when KEDA
    # starts; KEDA would then wait ever longer before it listens again.
    ("grpc.server.max_pending_requests", CALLS),
    ("grpc.server.max_pending_requests_hard_limit", CALLS),
    ("grpc.keepalive_time_ms", 30_000),  # so that streams of a KEDA that is gone end
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # what others may send
)


class PushScaler:
    """The service `externalscaler.ExternalScaler` on a port."""

    def __init__(self, backlogs: Backlogs, host: str, port: int) -> None:
        self._activity = Activity(backlogs)
        self._host = f"[{host}]" if ":" in host else host
        self.port = port  # 0 takes a free one, and then is that
        self._server: Any = None

    async def start(self) -> None:
        """Serve; ConfigurationError where the port is taken."""
        server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=CALLS)
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            self.port = server.add_insecure_port(f"{self._host}:{self.port}")
        except RuntimeError:
            await server.stop(None)
            raise ConfigurationError(
                f"port {self.port} on {self._host} cannot be taken: stop what uses it, or set"
                " another as LUMBRE_SCALER_PORT"
            ) from None
        self._server = server
        self._activity.start()
        await server.start()

    async def close(self) -> None:
        """End streams as done, so that KEDA turns to another gateway at once, and stop.

        To a stream that is broken off KEDA answers by waiting, each time twice as long.
        """
        server, self._server = self._server, None
        if server is not None:
            await self._activity.close()
            await server.stop(GRACE)

    def woken(self, queue: str) -> None:
        """A message is about to go to a queue that nobody consumes: `wake.QUEUE` on the bus."""
        self._activity.woken(queue)

    # ── what KEDA calls ───────────────────────────────────────────────────────────────────────

    def _handlers(self) -> Any:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "IsActive": _unary(self._is_active),
                "StreamIsActive": _stream(self._stream_is_active),
                "GetMetricSpec": _unary(self._get_metric_spec),
                "GetMetrics": _unary(self._get_metrics),
            },
        )

    async def _is_active(self, data: bytes) -> bytes:
        trigger = read_trigger(read_reference(data).metadata)
        return activity(await self._activity.is_active(trigger))

    async def _get_metric_spec(self, data: bytes) -> bytes:
        trigger = read_trigger(read_reference(data).metadata)
        self._activity.check(trigger)
        return metric_spec(trigger.metric, trigger.target)

    async def _get_metrics(self, data: bytes) -> bytes:
        trigger = read_trigger(read_metrics_request(data).metadata)
        return metric_value(trigger.metric, await self._activity.backlog(trigger))

    async def _stream_is_active(self, data: bytes) -> AsyncGenerator[bytes, None]:
        trigger = read_trigger(read_reference(data).metadata)
        if self._activity.count >= STREAMS:
            raise Overloaded(f"{STREAMS} ScaledObjects listen already, the most there may be", 60)
        async with contextlib.aclosing(self._activity.watch(trigger)) as told:
            async for active in told:
                yield activity(active)


def _unary(answer: Callable[[bytes], Awaitable[bytes]]) -> Any:
    """A call with one answer; errors become a status and the text, which KEDA's operator logs."""

    async def call(data: bytes, context: Any) -> Any:
        try:
            return await answer(data)
        except LumbreError as error:
            await context.abort(_status(error), str(error))

    return grpc.unary_unary_rpc_method_handler(call)


def _stream(answers: Callable[[bytes], AsyncGenerator[bytes, None]]) -> Any:
    """A call with answers for as long as they come; errors as in `_unary`."""

    async def call(data: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            async with contextlib.aclosing(answers(data)) as found:
                async for answer in found:
                    yield answer
        except LumbreError as error:
            await context.abort(_status(error), str(error))

    return grpc.unary_stream_rpc_method_handler(call)


def _status(error: LumbreError) -> Any:
    if isinstance(error, BadRequest | InvalidInput):
        return grpc.StatusCode.INVALID_ARGUMENT
    if isinstance(error, NotFound):
        return grpc.StatusCode.NOT_FOUND
    if isinstance(error, Overloaded):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return grpc.StatusCode.UNAVAILABLE
