"""What a load test shows of itself while it runs."""

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Queue:
    """One function on one device, as the node last told."""

    function: str
    device: str
    backlog: int
    replicas: int  # that serve or are starting
    busy: int
    starting: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a load test; latencies and times in seconds, None where there are none."""

    name: str
    url: str
    stage: int  # from 1
    stages: int
    kind: str  # of the stage
    elapsed: float
    length: float | None  # None: only the trace knows
    ending: bool  # all is sent, the last answers are awaited
    throughput: float  # successes a second, over the latest whole second
    latest: tuple[float | None, ...]  # p50, p95, p99 of that second
    overall: tuple[float | None, ...]  # p50, p95, p99 of all
    succeeded: int
    faults: int
    throttled: int  # 429s
    waiting: int
    held: int
    saturated: int  # seconds in which the generator was the bottleneck
    queues: tuple[Queue, ...]


def dumps(snapshot: Snapshot) -> bytes:
    """As one line of JSON."""
    return orjson.dumps(snapshot, option=orjson.OPT_APPEND_NEWLINE)


def loads(line: bytes) -> Snapshot:
    """What `dumps` gave."""
    value: dict[str, Any] = orjson.loads(line)
    value["queues"] = tuple(Queue(**queue) for queue in value["queues"])
    for name in ("latest", "overall"):
        value[name] = tuple(value[name])
    return Snapshot(**value)
