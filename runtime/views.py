"""The JSON shapes that people and programs see: an invocation, a function, a list."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from runtime.batch_rows import ItemOutcome, Progress
from runtime.catalog import Broken
from runtime.devices import simulates
from runtime.function import FunctionSpec
from runtime.model import (
    JSON,
    Attempt,
    Depth,
    Device,
    Invocation,
    Part,
    Payload,
    PoolState,
    ReplicaCounts,
)
from runtime.speedup import Speedup
from runtime.telemetry import Metrics

MAX_LIMIT = 1000  # items of one page


def instant(at: float | None) -> str | None:
    """RFC 3339 in UTC, with microseconds."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def invocation_view(invocation: Invocation, *, debug: bool = False) -> dict[str, Any]:
    """An invocation as the API shows it; times are seconds."""
    message = invocation.message
    link = f"/invocations/{invocation.id}"
    return {
        "id": invocation.id,
        "function": message.function,
        "device": message.device,
        "requested_device": invocation.requested_device,
        "status": invocation.status.value,
        "attempt": message.attempt,
        "version": invocation.version,
        "created_at": instant(message.created_at),
        "started_at": instant(invocation.started_at),
        "finished_at": instant(invocation.finished_at),
        "timings": invocation.timings,
        "cold": invocation.cold,
        "replica": invocation.replica,
        "simulated": is_simulated(invocation),
        "error": _error_view(invocation, debug),
        "input": input_view(message.payload),
        "links": {
            "self": link,
            "result": f"{link}/result",
            "events": f"{link}/events",
            "logs": f"{link}/logs",
            "replayed_from": (
                f"/invocations/{invocation.replayed_from}" if invocation.replayed_from else None
            ),
            "batch": f"/batches/{invocation.batch}" if invocation.batch else None,
            "blobs": {part.name: f"{link}/blobs/{part.name}" for part in invocation.blobs},
        },
        "traceparent": invocation.traceparent,
    }


def batch_view(progress: Progress) -> dict[str, Any]:
    """A batch as the API shows it, and how far it is; throughput is items a second."""
    batch = progress.batch
    link = f"/batches/{batch.id}"
    return {
        "id": batch.id,
        "function": batch.function,
        "requested_device": batch.requested_device,
        "state": batch.state.value,
        "finished": progress.finished,
        "created_at": instant(batch.created_at),
        "total": batch.total,
        "by_status": {status.value: count for status, count in progress.by_status.items()},
        "done": progress.done,
        "progress": progress.fraction,
        "throughput": progress.throughput,
        "eta": progress.eta,
        "links": {
            "self": link,
            "results": f"{link}/results",
            "cancel": None if progress.finished else link,
            "invocations": f"/invocations?batch={batch.id}",
        },
    }


def outcome_view(outcome: ItemOutcome) -> dict[str, Any]:
    """The outcome of one item of a batch; a result that is no short JSON is at its link."""
    link = f"/invocations/{outcome.id}"
    view: dict[str, Any] = {
        "index": outcome.index,
        "id": outcome.id,
        "status": outcome.status.value,
    }
    view |= outcome_part_view(outcome.result)
    if error := outcome.error:
        view["error"] = {"type": error.type, "message": error.message, **error.details}
    view["links"] = {"self": link, "result": f"{link}/result", "logs": f"{link}/logs"}
    return view


def outcome_part_view(result: Part | None) -> dict[str, Any]:
    """What a result is, and itself where it is short JSON; nothing of none."""
    if result is None:
        return {}
    view: dict[str, Any] = {"media_type": result.media_type, "size": result.size}
    if (inline := _inline(result)) is not None:
        view["result"] = inline
    return view


def _inline(result: Part) -> orjson.Fragment | None:
    """A JSON result on one line; None where it is none, whatever its function called it."""
    if result.data is None or result.media_type != JSON:
        return None
    try:
        value = orjson.loads(result.data)
    except orjson.JSONDecodeError:
        return None
    if b"\n" in result.data or b"\r" in result.data:
        return orjson.Fragment(orjson.dumps(value))
    return orjson.Fragment(result.data)  # as it came: whole numbers may be longer than 64 bits


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    """An attempt that did not give the outcome."""
    error = attempt.error
    return {
        "attempt": attempt.attempt,
        "replica": attempt.replica,
        "device": attempt.device,
        "started_at": instant(attempt.started_at),
        "finished_at": instant(attempt.finished_at),
        "error": {"type": error.type, "message": error.message} if error else None,
    }


def is_simulated(invocation: Invocation) -> bool:
    """Whether the GPU it ran on was a CPU in disguise."""
    return simulates(invocation.replica)


def _error_view(invocation: Invocation, debug: bool) -> dict[str, Any] | None:
    error = invocation.error
    if error is None:
        return None
    view: dict[str, Any] = {"type": error.type, "message": error.message, **error.details}
    if debug and error.traceback:
        view["traceback"] = error.traceback
    return view


def input_view(payload: Payload) -> dict[str, Any]:
    """An input as the API shows it; parameters that are too large to travel are null."""
    view: dict[str, Any] = {"parameters": None}
    if payload.parameters is not None:
        view["parameters"] = orjson.Fragment(payload.parameters)
    view["parts"] = {part.name: part_view(part) for part in payload.parts}
    return view


def part_view(part: Part) -> dict[str, Any]:
    return {"media_type": part.media_type, "size": part.size}


def function_view(
    spec: FunctionSpec,
    pools: dict[Device, PoolState],
    depths: dict[Device, Depth],
    metrics: Metrics,
    speedup: Speedup | None,
) -> dict[str, Any]:
    """A function as the API shows it: what it is, how busy it is, and why anything waits."""
    counts = {d: pool.replicas for d, pool in pools.items()}
    return {
        "name": spec.name,
        "description": spec.description,
        "file": spec.file,
        "version": spec.version,
        "devices": list(spec.devices),
        "input_schema": spec.input_schema,
        "output_schema": spec.output_schema,
        "binary": spec.binary,
        "streams": spec.streams,
        "timeout": spec.timeout,
        "cost": spec.cost,
        "max_attempts": spec.max_attempts,
        "scaling": {device: spec.scaling[device] for device in spec.devices},
        "backlog": {
            device: {
                "ready": depth.ready,
                "unacknowledged": depth.unacknowledged,
                "dead": depth.dead,
            }
            for device, depth in depths.items()
        },
        "replicas": {device: counts.get(device, ReplicaCounts()) for device in spec.devices},
        "latency": {d: metrics.latency((spec.name, d)) for d in spec.devices},
        "speedup": speedup_view(speedup),
        "waiting": {
            device: waiting_view(device, pools.get(device), depths[device])
            for device in spec.devices
        },
        "error": None,
        "links": {"self": f"/functions/{spec.name}", "invoke": f"/invoke/{spec.name}"},
    }


def broken_view(broken: Broken) -> dict[str, Any]:
    """A file that cannot be used, in the place of its functions."""
    error = {"type": broken.error.type, "message": broken.error.message}
    if broken.error.traceback:
        error["traceback"] = broken.error.traceback
    return {
        "name": broken.name,
        "description": "",
        "file": broken.file,
        "version": None,
        "devices": [],
        "input_schema": None,
        "output_schema": None,
        "binary": {},
        "streams": False,
        "timeout": None,
        "cost": None,
        "max_attempts": None,
        "scaling": {},
        "backlog": {},
        "replicas": {},
        "latency": {},
        "speedup": None,
        "waiting": {},
        "error": error,
        "links": {"self": f"/functions/{broken.name}", "invoke": None},
    }


def speedup_view(speedup: Speedup | None) -> dict[str, Any] | None:
    """A speedup as the API shows it; None where a function did not run on both devices.

    `enough` is false where there are too few runs to rely on it.  Results are not compared: that is
    what `lumbre bench` does.
    """
    if speedup is None:
        return None
    known = speedup.low is not None and speedup.high is not None
    return {
        "ratio": speedup.ratio,
        "interval": [speedup.low, speedup.high] if known else None,
        "n": speedup.n,
        "pairs": speedup.pairs,
        "basis": speedup.basis,
        "median_run": speedup.median_run,
        "simulated": speedup.simulated,
        "enough": speedup.enough,
    }


def waiting_view(device: Device, pool: PoolState | None, depth: Depth) -> dict[str, str] | None:
    """The one cause why ready messages of a queue wait, or None if none does."""
    if not depth.ready:
        return None
    if pool is None:
        what = "no GPU here" if device == "gpu" else "no worker serves it on the CPU"
        return {"cause": "no_gpu" if device == "gpu" else "no_device", "detail": what}
    counts = pool.replicas
    if pool.trouble and not counts.ready + counts.busy:
        return {"cause": "crash_looping", "detail": pool.trouble}
    if pool.starved and not counts.running:
        text = f"all {pool.gpu_slots} GPU slots are in use by other functions"
        return {"cause": "at_max", "detail": text}
    if not counts.ready + counts.busy:
        text = f"{counts.starting} starting" if counts.starting else "a replica is about to start"
        return {"cause": "starting", "detail": text}
    if counts.running >= pool.most:
        text = f"all {pool.most} replicas that may run are busy; {depth.ready:,} wait"
        return {"cause": "at_max", "detail": text}
    text = f"behind {depth.unacknowledged:,} that run and {depth.ready:,} that wait"
    return {"cause": "behind", "detail": text}


def list_view(items: Iterable[Any], path: str, query: dict[str, str | None]) -> dict[str, Any]:
    """A page of items and the URL of the next, if there is one; `query` holds its parameters."""
    following = None
    if query.get("cursor"):
        following = f"{path}?{urlencode({k: v for k, v in query.items() if v is not None})}"
    return {"items": list(items), "next": following}
