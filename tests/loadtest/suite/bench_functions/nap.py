"""Functions that take a known time, and tell the same on every device."""

import time

from pydantic import BaseModel

from runtime import Context, function


class Napped(BaseModel):
    seconds: float
    checksum: float
    losses: list[float]


@function(devices=("cpu", "gpu"), timeout=10)
def nap(context: Context, n: int = 1, way: str = "slow") -> Napped:
    """Sleep n milliseconds, or a tenth of that the other way."""
    seconds = n / 1000 if way == "slow" else n / 10_000
    with context.timer("compute"):
        time.sleep(seconds)
    return Napped(seconds=seconds, checksum=n**2, losses=[1.0, n])


@function(devices=("cpu", "gpu"))
def by_default(context: Context, n: int = 1) -> int:
    """Return what it was given."""
    return n


@function
def needy(context: Context, n: int, kind: str) -> int:
    """Cannot be called without parameters."""
    return n


@function(devices=("cpu",))
def cpu_only(context: Context, n: int = 1) -> float:
    """Run on the CPU only."""
    return float(n)
