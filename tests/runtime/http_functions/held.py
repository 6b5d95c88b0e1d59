"""Functions that go on until a test opens their gate, which is a file."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime import Context, Scaling, function

LONGEST = 60.0  # seconds; no test waits that long
ONE = Scaling(max_replicas=1)


def wait_for(gate: str) -> None:
    """Return once there is a file at `gate`."""
    deadline = time.monotonic() + LONGEST
    while not os.path.exists(gate):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened {gate}")
        time.sleep(0.005)


def begin(mark: str) -> None:
    """Leave this process's id at `mark`: the function runs, or has run."""
    if mark:
        path = Path(mark)
        path.with_suffix(".new").write_text(str(os.getpid()))
        path.with_suffix(".new").replace(path)


@function(scaling=ONE)
def hold(context: Context, gate: str, mark: str = "") -> int:
    """Run until the gate is there; one at a time."""
    begin(mark)
    context.progress(0.5, step="holding")
    print("holding", flush=True)
    wait_for(gate)
    return context.attempt


@function(scaling=ONE)
def hold_bytes(data: bytes, gate: str) -> int:
    """Run until the gate is there, with something uploaded."""
    wait_for(gate)
    return len(data)


@function(scaling=Scaling(max_replicas=2, target=100))
def hold_few(gate: str) -> None:
    """Run until the gate is there; a second replica could help, but is not wanted yet."""
    wait_for(gate)


@function(timeout=0.3)
def overtime(context: Context, gate: str) -> None:
    """Run over the timeout."""
    context.progress(0.1)
    print("not done", flush=True)
    wait_for(gate)


@function(scaling=ONE)
def stream(context: Context, n: int = 3, gate: str = "", fault: str = "") -> Iterator[Any]:
    """Yield numbers, with a gate after the first."""
    for number in range(n):
        yield number
        if gate and number == 0:
            print("between", flush=True)
            wait_for(gate)
    if fault:
        raise RuntimeError(fault)


@function(devices=("cpu", "gpu"), scaling=ONE)
def anywhere(context: Context, gate: str = "") -> str:
    """Run on either device."""
    if gate:
        wait_for(gate)
    return "simulated" if context.simulated else "real"


@function(devices=("gpu",))
def gpu_only() -> None:
    """Run on a GPU, or not at all."""


@function(scaling=ONE)
class SlowStart:
    """Take until the gate in the environment is there to become ready."""

    def setup(self, context: Context) -> None:
        wait_for(os.environ["SLOW_START_GATE"])

    def __call__(self) -> str:
        return "ready"


@function(scaling=ONE)
class NeverReady:
    """Fail in setup, always."""

    def setup(self, context: Context) -> None:
        raise RuntimeError("the weights are not there")

    def __call__(self) -> None:
        """Never called."""


@function(scaling=ONE)
def quick_or_held(gate: str = "", mark: str = "") -> int:
    """Be short, so that invocations wait in the replica's hands, or run until the gate is there."""
    if mark:
        begin(mark)
    if gate:
        wait_for(gate)
    return 1
