"""Outcomes of load tests as they come from real ones, for the tests of what is made from them."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from loadtest.latencies import Latencies
from loadtest.outcome import (
    ColdStart,
    Decided,
    Fault,
    Generator,
    Group,
    Objective,
    Observed,
    Outcome,
    Second,
)

SECONDS = 60
RATE = {"matmul": 8, "vector_add": 10, "flaky": 3}  # a second
RUN = {  # the median run of each queue, and what it is made of, in seconds
    ("matmul", "cpu"): (0.21, {"compute": 0.2}),
    ("matmul", "gpu"): (0.012, {"transfer_in": 0.004, "compute": 0.006, "transfer_out": 0.001}),
    ("vector_add", "cpu"): (0.004, {"compute": 0.003}),
    ("vector_add", "gpu"): (
        0.006,
        {"transfer_in": 0.003, "compute": 0.0005, "transfer_out": 0.001},
    ),
    ("flaky", "cpu"): (0.02, {}),
}
PLAN: dict[str, Any] = {
    "name": "mixed",
    "seed": 7,
    "stages": [{"kind": "poisson", "rate": 21.0, "seconds": 60.0}],
    "mix": [
        {"function": "matmul", "weight": 8, "device": {"choice": ["cpu", "gpu"]}},
        {"function": "vector_add", "weight": 10, "device": {"choice": ["cpu", "gpu"]}},
        {"function": "flaky", "weight": 3, "parameters": {"n": {"uniform": [0, 1000]}}},
    ],
    "slo": "p99=2s,errors=1%",
}


def histogram(seconds: Sequence[float]) -> str:
    """Latencies as a Group has them."""
    counted = Latencies()
    for each in seconds:
        counted.record(each)
    return counted.encode()


@cache
def mixed(simulated: bool = True) -> Outcome:
    """Three functions, two devices, cold starts, faults, 429s, scaling from 0 to 3 and back."""
    rng = random.Random(7)
    groups = tuple(_groups(rng, simulated))
    faults = _faults()
    return Outcome(
        plan=PLAN,
        url="http://127.0.0.1:8080",
        seed=7,
        began_at="2026-11-20T10:15:00Z",
        seconds=61.3,
        interrupted=None,
        machine=[
            ("date", "2026-11-20 10:15 UTC"),
            ("revision", "7feffc6974c6"),
            ("CPU", "AMD EPYC 9354 32-Core Processor"),
            ("cores", "2 of 2"),
            ("memory", "7.8 GiB"),
        ],
        node=[
            ("version", "0.1.0"),
            ("functions", "flaky, matmul, vector_add"),
            ("devices", "cpu, gpu"),
            ("simulated", "gpu" if simulated else "no"),
        ],
        groups=groups,
        series=tuple(_series(random.Random(8))),
        observed=tuple(_observed()),
        decided=_decided(),
        colds=_colds(random.Random(9)),
        faults=faults,
        generator=Generator(31, 0.34, 0.0021, 0, ()),
        throttled=41,
        unanswered=0,
        objectives=(
            Objective("p99=2s", "1.46 s", True),
            Objective("errors=1%", "4.3 %", False),
        ),
        audit=_audit(groups),
        notes=("the node was observed every 0.5 s",),
    )


def interrupted() -> Outcome:
    """The same, ended with Ctrl-C after 20 seconds, with requests that nobody answered."""
    whole = mixed()
    return replace(
        whole,
        seconds=20.4,
        interrupted="Ctrl-C after 20.4 s of 60 s",
        series=whole.series[:20],
        observed=tuple(each for each in whole.observed if each.at < 20),
        decided=tuple(each for each in whole.decided if each.at < 20),
        colds=tuple(each for each in whole.colds if each.at < 20),
        unanswered=12,
        audit=None,
        notes=("the node was not asked for its audit: the load test was interrupted",),
    )


def saturated() -> Outcome:
    """One whose generator was the bottleneck, of a closed loop, without an SLO."""
    return replace(
        mixed(),
        plan={"name": "closed", "stages": [{"kind": "closed", "connections": 64, "seconds": 60}]},
        objectives=(),
        generator=Generator(
            64,
            0.98,
            0.21,
            3,
            ("it used more than 95 % of a core in 3 seconds (99 % in second 41)",),
        ),
    )


def unanswered() -> Outcome:
    """Nothing listened: every request was refused."""
    return replace(
        empty(),
        plan=PLAN,
        seconds=10.0,
        interrupted=None,
        groups=(
            Group("matmul", "gpu", False, "refused", 200, {"total": histogram([0.0004] * 200)}),
        ),
        series=tuple(
            Second(at, 20, 20, 0, 20, 0, 0, 0, None, None, None, None, {}, 0.05, 0.0)
            for at in range(10)
        ),
        faults=(Fault("refused", "matmul", 200, 0.0, "[Errno 111] Connection refused", None),),
        objectives=(Objective("p99=200ms", "none", False),),
        notes=("the node was not observed: [Errno 111] Connection refused",),
    )


def empty() -> Outcome:
    """It ended before anything was sent."""
    return Outcome(
        plan={},
        url="http://127.0.0.1:8080",
        seed=0,
        began_at="2026-11-20T10:15:00Z",
        seconds=0.0,
        interrupted="Ctrl-C before the first request",
        machine=[],
        node=[],
        groups=(),
        series=(),
        observed=(),
        decided=(),
        colds=(),
        faults=(),
        generator=Generator(0, 0.0, math.nan, 0, ()),
        throttled=0,
        unanswered=0,
        objectives=(),
        audit=None,
    )


def brief() -> Outcome:
    """One function on one device for one second, all of it the same latency."""
    return replace(
        empty(),
        plan={"stages": [{"kind": "constant", "rate": 5, "seconds": 1}]},
        seconds=1.02,
        interrupted=None,
        groups=(
            Group(
                "noop",
                "cpu",
                False,
                "succeeded",
                5,
                {"total": histogram([0.002] * 5), "run": histogram([0.001] * 5)},
            ),
        ),
        series=(
            Second(0, 5, 5, 5, 0, 0, 0, 0, 0.002, 0.002, 0.002, 0.002, {"cpu": 0.002}, 0.02, 0.0),
        ),
        observed=(Observed(0.5, "noop", "cpu", 0, 0, 0, 0, 1, 0, 0),),
        generator=Generator(1, 0.02, 0.0001, 0, ()),
    )


def hostile() -> Outcome:
    """One whose every text is meant to break a page, a table or a terminal."""
    bad = "<script>alert('x')</script> | a\nb `c` *d* [e](f) &amp; \x1b[31m"
    return replace(
        mixed(),
        url=f"http://127.0.0.1:8080/{bad}",
        plan={"name": bad},
        interrupted=bad,
        machine=[(bad, bad)],
        node=[(bad, bad)],
        groups=(
            Group(
                bad,
                "cpu",
                False,
                "succeeded",
                2,
                {"total": histogram([0.1, 0.2]), bad: histogram([0.1])},
            ),
            Group(bad, "gpu", True, bad, 1, {"total": histogram([0.1])}),
        ),
        observed=(Observed(1.0, bad, "gpu", 1, 1, 0, 0, 1, 0, 0),),
        decided=(Decided(1.0, bad, "gpu", 0, 1, 2.0, bad),),
        colds=(ColdStart(1.0, bad, "gpu", 0.5, 0.7),),
        faults=(Fault(bad, bad, 1, 0.5, bad, bad),),
        generator=Generator(1, 0.1, 0.1, 1, (bad,)),
        objectives=(Objective(bad, bad, False),),
        audit={"holds": False, "accepted": 3, "by_status": {bad: 3}, "problems": [bad]},
        notes=(bad,),
    )


def _groups(rng: random.Random, simulated: bool) -> Iterator[Group]:
    for (function, device), (run, parts) in RUN.items():
        asked = RATE[function] * SECONDS // (1 if function == "flaky" else 2)
        phases: dict[str, list[float]] = {name: [] for name in ("total", "queue", "start", "run")}
        phases |= {name: [] for name in parts}
        for n in range(asked):
            spread = rng.lognormvariate(0, 0.25)
            queue = rng.expovariate(1 / (run * 1.5)) + 0.0006
            start = rng.uniform(0.6, 1.1) if n < 3 else 0.0
            phases["queue"].append(queue)
            phases["run"].append(run * spread)
            if start:
                phases["start"].append(start)
            for name, part in parts.items():
                phases[name].append(part * spread)
            phases["total"].append(queue + start + run * spread + 0.0008)
        encoded = {name: histogram(values) for name, values in phases.items()}
        yield Group(function, device, simulated and device == "gpu", "succeeded", asked, encoded)
    yield Group("flaky", "cpu", False, "failed", 41, {"total": histogram([0.03] * 41)})
    late = {"total": histogram([5.0 + rng.random() for _ in range(7)])}
    yield Group("matmul", "gpu", False, "timed_out", 7, late)
    yield Group("matmul", "cpu", False, "refused", 8, {"total": histogram([0.0004] * 8)})


def _series(rng: random.Random) -> Iterator[Second]:
    for at in range(SECONDS):
        rise = 2.5 * math.exp(-(((at - 12) / 5) ** 2)) + 1.2 * math.exp(-(((at - 38) / 3) ** 2))
        due = 21 + rng.randint(-5, 5)
        faults = rng.choice((0, 0, 0, 1, 2)) + (8 if at == 33 else 0)
        throttled = rng.randint(6, 12) if at in (11, 12, 13, 14) else 0
        good = 0 if at < 1 else max(0, due - faults)
        cpu, gpu = 0.12 * (1 + rise), 0.018 * (1 + rise) * rng.uniform(0.8, 1.2)
        known = good > 0 and at != 34
        yield Second(
            at=at,
            intended=due,
            sent=due,
            succeeded=good if at != 34 else 0,
            faults=faults,
            throttled=throttled,
            waiting=int(6 * rise),
            held=throttled // 2,
            p50=0.06 * (1 + rise) if known else None,
            p95=0.4 * (1 + rise) * rng.uniform(0.9, 1.2) if known else None,
            p99=0.7 * (1 + rise) * rng.uniform(0.9, 1.4) if known else None,
            slowest=1.1 * (1 + rise) if known else None,
            by_device={"cpu": cpu, "gpu": gpu} if known else {},
            cpu=0.3 + 0.1 * rng.random(),
            late=0.002 * rng.random(),
        )


def _replicas(function: str, device: str, at: float) -> int:
    steps = [
        (each.at, each.after)
        for each in _decided()
        if (each.function, each.device) == (function, device)
    ]
    return next((after for since, after in reversed(steps) if since <= at), 0)


def _observed() -> Iterator[Observed]:
    for tick in range(2 * SECONDS):
        at = tick / 2
        for function, device in RUN:
            wanted, ready = (_replicas(function, device, at - lag) for lag in (0.0, 1.0))
            rise = math.exp(-(((at - 12) / 5) ** 2)) + 0.4 * math.exp(-(((at - 38) / 3) ** 2))
            backlog = round(rise * 14 * RUN[function, device][0] / 0.02) if ready < 20 else 0
            backlog = min(backlog, 60)
            running = min(ready, backlog or (tick + len(function)) % 2)
            starting, draining = max(0, wanted - ready), max(0, ready - wanted)
            running = min(running, ready - draining)
            yield Observed(
                at,
                function,
                device,
                max(0, backlog - running),
                running,
                0,
                starting,
                ready - running - draining,
                running,
                draining,
            )


def _decided() -> tuple[Decided, ...]:
    steps: Mapping[tuple[str, str], Sequence[tuple[float, int, float, str]]] = {
        ("matmul", "cpu"): (
            (0.3, 1, 2.0, "active: backlog 2 over activation 0"),
            (6.1, 2, 5.0, "backlog 5, target 2: 3, at most 2 here"),
            (31.0, 1, 1.0, "backlog 1, target 2: 1, held 15 s by the window"),
            (55.2, 0, 0.0, "idle for 10 s: to zero"),
        ),
        ("matmul", "gpu"): (
            (0.3, 1, 3.0, "active: backlog 3 over activation 0"),
            (7.4, 3, 6.0, "backlog 6, target 2: 3"),
            (27.5, 1, 0.0, "backlog 0, target 2: 1, held 15 s by the window"),
            (54.8, 0, 0.0, "idle for 10 s: to zero"),
        ),
        ("vector_add", "cpu"): ((0.4, 1, 4.0, "active: backlog 4 over activation 0"),),
        ("vector_add", "gpu"): ((0.4, 1, 2.0, "active: backlog 2 over activation 0"),),
        ("flaky", "cpu"): ((0.9, 1, 1.0, "active: backlog 1 over activation 0"),),
    }
    decided = []
    for (function, device), taken in steps.items():
        before = 0
        for at, after, backlog, reason in taken:
            decided.append(Decided(at, function, device, before, after, backlog, reason))
            before = after
    return tuple(sorted(decided, key=lambda each: each.at))


def _colds(rng: random.Random) -> tuple[ColdStart, ...]:
    colds = []
    for function, device in RUN:
        for at in (0.2, 0.4, 7.9) if device == "gpu" else (0.3,):
            start = rng.uniform(1.1, 1.6) if device == "gpu" else rng.uniform(0.5, 0.8)
            rest = rng.uniform(0.02, 0.3)
            colds.append(ColdStart(at, function, device, start, start + rest))
    return tuple(colds)


def _faults() -> tuple[Fault, ...]:
    return (
        Fault("failed", "flaky", 41, 1.2, "500 ValueError: n is 13", "01JD3X0V9Z7M2Q4R5T6Y8W1A2B"),
        Fault(
            "timed_out",
            "matmul",
            7,
            12.4,
            "504: it ran longer than 5 s",
            "01JD3X1H8Z7M2Q4R5T6Y8W1A2C",
        ),
        Fault("refused", "matmul", 8, 33.0, "[Errno 111] Connection refused", None),
    )


def _audit(groups: Sequence[Group]) -> dict[str, Any]:
    by_status = {
        "queued": 0,
        "running": 0,
        "succeeded": 0,
        "failed": 41,
        "timed_out": 7,
        "cancelled": 0,
        "dead": 0,
    }
    by_status["succeeded"] = sum(each.count for each in groups if each.status == "succeeded")
    return {
        "holds": True,
        "accepted": sum(by_status.values()),
        "by_status": by_status,
        "purged": 0,
        "problems": [],
        "lost": [],
        "explanation": None,
    }
