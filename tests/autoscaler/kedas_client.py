"""KEDA's side of its external scaler: a gRPC client that asks as KEDA's operator does."""

from types import TracebackType
from typing import Any, Self

import grpc  # type: ignore[import-untyped]

from autoscaler.externalscaler import MESSAGES, SERVICE


def metadata(queue: str, value: str = "1", **more: str) -> dict[str, str]:
    """A trigger's metadata; KEDA sends what is its own, too."""
    return {"scalerAddress": "gateway:6000", "queueName": queue, "value": value, **more}


def reference(metadata: dict[str, str]) -> Any:
    return MESSAGES["ScaledObjectRef"](name="it", namespace="lumbre", scalerMetadata=metadata)


class Kedas:
    """One connection of KEDA's, for all its ScaledObjects."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.channel.close()

    async def is_active(self, metadata: dict[str, str]) -> bool:
        answer = await self.call("IsActive", reference(metadata), "IsActiveResponse")
        return bool(answer.result)

    async def metric(self, metadata: dict[str, str]) -> float:
        """As KEDA reads it: the float where it is above 0, and else the whole number."""
        request = MESSAGES["GetMetricsRequest"](
            scaledObjectRef=reference(metadata), metricName="any"
        )
        answer = await self.call("GetMetrics", request, "GetMetricsResponse")
        (value,) = answer.metricValues
        exact = float(value.metricValueFloat)
        return exact if exact > 0 else float(value.metricValue)

    async def spec(self, metadata: dict[str, str]) -> Any:
        answer = await self.call("GetMetricSpec", reference(metadata), "GetMetricSpecResponse")
        (spec,) = answer.metricSpecs
        return spec

    async def call(self, name: str, request: Any, answer: str) -> Any:
        call = self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES[answer].FromString,
        )
        return await call(request, timeout=30)

    def listen(self, metadata: dict[str, str]) -> Any:
        """A StreamIsActive; `read` gives the next answer, grpc.aio.EOF at its end."""
        call = self.channel.unary_stream(
            f"/{SERVICE}/StreamIsActive",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=lambda data: MESSAGES["IsActiveResponse"].FromString(data).result,
        )
        return call(reference(metadata))
