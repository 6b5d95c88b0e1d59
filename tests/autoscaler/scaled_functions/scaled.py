"""What the autoscaler's tests run: functions that wait, with quick policies."""

import time

from runtime import Context, Scaling, function

QUICK = Scaling(
    target=1, max_replicas=3, polling_interval=0.2, cooldown=1, stabilization_window=0.5
)


@function(scaling=QUICK)
def nap(seconds: float = 0.1) -> float:
    """Sleep, and say how long."""
    time.sleep(seconds)
    return seconds


@function(scaling=Scaling(min_replicas=1, max_replicas=2, polling_interval=0.2, cooldown=1))
def ever_ready(x: int = 0) -> int:
    """Keep one replica at all times."""
    return x


@function(devices=("gpu",), scaling={"gpu": QUICK})
def first_on_gpu(context: Context, seconds: float = 0.1) -> bool:
    """Hold a GPU slot for a while."""
    time.sleep(seconds)
    return context.simulated


@function(devices=("gpu",), scaling={"gpu": QUICK})
def second_on_gpu(seconds: float = 0.1) -> float:
    """Want the same slots."""
    time.sleep(seconds)
    return seconds


@function(devices=("gpu",), scaling={"gpu": QUICK})
def third_on_gpu(seconds: float = 0.1) -> float:
    """Want the same slots."""
    time.sleep(seconds)
    return seconds
