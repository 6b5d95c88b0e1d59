"""What a simulation says of a trace, beside what a node did with the very same invocations.

Tolerances are those of a busy machine with two cores.  That they are not too wide is shown with
policies the node did not have, which fail them.
"""

import itertools
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autoscaler.arrivals import pattern
from autoscaler.policy import Policy
from autoscaler.scene import Scene
from autoscaler.simulate import simulate
from autoscaler.simulated import Simulated, Spread
from autoscaler.trace import Trace, read_trace
from tests.autoscaler.scaled_functions.scaled import QUICK
from tests.support import ROOT, NodeFactory, RunningNode, eventually

FUNCTIONS = Path(__file__).parent / "scaled_functions"
ASYNC = {"Prefer": "respond-async"}
NAP = 0.25  # seconds that one runs
SECONDS = 6.0
PATTERN = "burst:20:1.5:3"  # more than three replicas get done while it is on
WIDEST = 0.35  # how far a percentile may be off, as a share …
LEAST = 0.15  # … or in seconds
REPLICAS = 0.35  # how far replicas over time may be off, as a share of all replica-seconds


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> RunningNode:
    return start_node(FUNCTIONS, LUMBRE_DEVICES="cpu")


@pytest.fixture(scope="module")
def recorded(node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """A seeded load that the node has run, as `lumbre invocations --json` tells it."""
    instants = pattern(PATTERN).instants(SECONDS, Random(7))
    began = time.monotonic()
    for instant in instants:
        time.sleep(max(0.0, began + instant - time.monotonic()))
        answer = node.client.post("/invoke/nap", json={"seconds": NAP}, headers=ASYNC)
        assert answer.status_code == 202
    eventually(lambda: _running(node) == 0, within=30)
    file = tmp_path_factory.mktemp("trace") / "trace.json"
    command = [sys.executable, "-m", "runtime", "invocations", "--function", "nap", "--all"]
    done = subprocess.run(
        [*command, "--json", "--url", node.url], cwd=ROOT, capture_output=True, check=True
    )
    file.write_bytes(done.stdout)
    trace = read_trace(file, None, None)
    assert len(trace.calls) == len(instants)
    return trace


def _running(node: RunningNode) -> int:
    counts = node.client.get("/functions/nap").json()["replicas"]["cpu"]
    return int(counts["starting"] + counts["ready"] + counts["busy"] + counts["draining"])


@pytest.fixture(scope="module")
def decided(node: RunningNode, recorded: Trace) -> list[tuple[float, int]]:
    """Every decision of the node: seconds since the first invocation, and the replicas wanted."""

    def all_of_them() -> list[dict[str, Any]]:
        items = node.client.get("/decisions?function=nap&limit=1000").json()["items"]
        return items if items and items[0]["after"] == 0 else []

    found = eventually(all_of_them)
    return [(_seconds(each["at"]) - recorded.began_at, each["after"]) for each in found[::-1]]


def _seconds(instant: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(instant).timestamp()


def played(trace: Trace, policy: Policy) -> Simulated:
    assert trace.starts is not None
    scene = Scene(policy=policy, arrivals=trace.arrivals, runs=trace.runs, start=trace.starts)
    return simulate(scene)


def is_near(simulated: float, measured: float) -> bool:
    return abs(simulated - measured) <= max(LEAST, WIDEST * measured)


def agrees(found: Simulated, trace: Trace) -> bool:
    """Whether the median and the 95th percentile of all times are near those recorded."""
    measured = Spread.of(trace.totals)
    return is_near(found.total.p50, measured.p50) and is_near(found.total.p95, measured.p95)


def off(found: Simulated, decided: list[tuple[float, int]]) -> float:
    """How far replicas over time are off, as a share of the recorded replica-seconds."""
    simulated = [(change.at, change.after) for change in found.changes]
    times = sorted({at for at, _ in [*simulated, *decided]})
    wrong = total = 0.0
    for start, end in itertools.pairwise(times):
        here, there = _at(simulated, start), _at(decided, start)
        wrong += abs(here - there) * (end - start)
        total += there * (end - start)
    return wrong / total


def _at(changes: list[tuple[float, int]], at: float) -> int:
    return next((after for when, after in reversed(changes) if when <= at), 0)


def test_its_percentiles_are_those_that_were_recorded(recorded: Trace) -> None:
    found = played(recorded, Policy.of(QUICK, 3))
    told = json.dumps([found.total.p50, found.total.p95, *_spread(recorded)])
    assert agrees(found, recorded), told


def _spread(trace: Trace) -> list[float]:
    measured = Spread.of(trace.totals)
    return [measured.p50, measured.p95]


def test_its_replicas_over_time_are_those_that_were_decided(
    recorded: Trace, decided: list[tuple[float, int]]
) -> None:
    found = played(recorded, Policy.of(QUICK, 3))
    assert max(after for _, after in decided) == found.most_replicas == 3
    assert off(found, decided) <= REPLICAS


def test_another_policy_would_not_have_done_that(
    recorded: Trace, decided: list[tuple[float, int]]
) -> None:
    """With one replica more or less the times differ; with a longer cooldown the replicas do."""
    for most in (1, 2, 6):
        assert not agrees(
            played(recorded, Policy.of(replace(QUICK, max_replicas=most), 6)), recorded
        )
    slow = replace(QUICK, cooldown=10.0, stabilization_window=10.0)
    assert off(played(recorded, Policy.of(slow, 3)), decided) > REPLICAS
