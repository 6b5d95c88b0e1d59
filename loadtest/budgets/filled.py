"""A ledger with many invocations in it, written by the recorder as it writes any others.

They are spread over a day that ends now, over the benchmark's functions and both devices, with
long-tailed times; one in fifty failed.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from runtime.ledger import Ledger
from runtime.model import DEVICES, JSON, Failure, Invocation, Message, Part, Payload, Status
from runtime.recorder import MAX_ROWS, Recorder

NAMES = ("noop", "product", "resize", "train")
SPAN = 86_400.0  # seconds


async def fill(state: Path, count: int, seed: int = 0) -> None:
    """Write so many terminal invocations to the ledger of a state folder that no node uses."""
    state.mkdir(parents=True, exist_ok=True)
    ledger = await Ledger.open(f"sqlite+aiosqlite:///{state.resolve()}/ledger.db")
    try:
        recorder = Recorder(ledger)
        await recorder.start()
        for number, invocation in enumerate(_invocations(count, seed), 1):
            recorder.note(invocation)
            if number % MAX_ROWS == 0:
                await recorder.flush()
        await recorder.flush()
        await recorder.close()
    finally:
        await ledger.close()


def _invocations(count: int, seed: int) -> Iterator[Invocation]:
    """In the order in which they ended."""
    rng = random.Random(seed)
    began = time.time() - SPAN
    for number in range(count):
        function, device = rng.choice(NAMES), rng.choice(DEVICES)
        run = rng.lognormvariate(-4.0 if device == "gpu" else -3.0, 1.0)
        queue = rng.expovariate(200.0)
        created_at = began + (SPAN - 60.0) * number / count
        failed = rng.random() < 0.02
        message = Message(f"{number:032x}", function, device, Payload(b'{"x":1}'), created_at)
        yield Invocation(
            message,
            "auto",
            "1",
            Status.FAILED if failed else Status.SUCCEEDED,
            started_at=created_at + queue,
            finished_at=created_at + queue + run,
            timings={"queue": queue, "start": 0.0, "run": run},
            replica=f"{function}-{device}-1",
            error=Failure("ValueError", "one in fifty") if failed else None,
            result=None if failed else Part("result", JSON, 1, b"1"),
        )
