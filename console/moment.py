"""A moment for what was just started to be over, so that a page can show its result at once."""

import asyncio
import time

from runtime.invocations import Invocations
from runtime.model import Invocation

MOMENT = 0.3  # seconds that something short is given to be over before it is shown
RECORDED = 2.0  # seconds that a recorder elsewhere may need to write down what is over
EVERY = 0.03  # seconds between two looks whether it has


async def settle(invocations: Invocations, started: Invocation) -> Invocation | None:
    """The invocation, if it is over within a moment; None where it goes on.

    An answer may be here before its record is in the ledger, which the next page is read from: then
    that is waited for, too.
    """
    over = await invocations.wait(started, MOMENT)
    deadline = time.monotonic() + RECORDED
    while over is not None and time.monotonic() < deadline:
        known = await invocations.get(started.id)
        if known is not None and known.terminal:
            break
        await asyncio.sleep(EVERY)
    return over
