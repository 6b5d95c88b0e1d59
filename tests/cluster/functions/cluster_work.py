"""What the tests of a cluster run; a result says which pod it came from, and when it ran there.

For a cluster that pulls images: one with this folder's files in /app/functions.
"""

import dataclasses
import socket
import time

from pydantic import BaseModel

from runtime import Context, Scaling, function

QUICK = Scaling(
    max_replicas=4,
    target=1,
    polling_interval=1,
    cooldown=10,
    stabilization_window=0,  # scale-in as soon as the backlog asks for it: the hardest case
)


class Stay(BaseModel):
    """One run: the pod's name, and seconds since 1970."""

    pod: str
    attempt: int
    began: float
    ended: float


def stay(context: Context, seconds: float) -> Stay:
    began = time.time()
    time.sleep(seconds)
    return Stay(pod=socket.gethostname(), attempt=context.attempt, began=began, ended=time.time())


@function(timeout=200, scaling=QUICK)
def nap(context: Context, seconds: float) -> Stay:
    """Take that long, on a CPU."""
    return stay(context, seconds)


@function(timeout=200, devices=("gpu",), scaling=dataclasses.replace(QUICK, max_replicas=2))
def gpu_nap(context: Context, seconds: float) -> Stay:
    """Take that long, with a GPU."""
    return stay(context, seconds)


@function(timeout=1000, scaling=QUICK)
def haul(context: Context, seconds: float) -> Stay:
    """Take that long, and be allowed so much time that a Job does it."""
    return stay(context, seconds)
