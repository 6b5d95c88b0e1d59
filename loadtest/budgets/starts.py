"""How long somebody waits for what is not there yet: a node, and a function at zero."""

import time

from loadtest.budgets.pace import Pace
from loadtest.budgets.replicas import RESULT
from loadtest.budgets.row import Check, Row, Sample
from loadtest.budgets.server import BenchmarkError, Server, node, scratch, until

COLDEST = 150.0  # milliseconds to the first answer of a function at zero
SLOWEST = 1.0  # seconds to a ready gateway
ZERO_LIMIT = 20.0  # seconds until an idle function must be at zero
RECORD_LIMIT = 10.0  # seconds until what was answered can be looked up
ZERO_LOOK = 0.05  # seconds between two looks at its replicas


def after_zero(lumbre: Server, pace: Pace) -> Row:
    """Seconds of one call to a torch function that has no replica."""
    took, start = woken(lumbre, pace)
    return Row(
        what="first answer after scale to zero",
        measured=took.text("ms"),
        checks=(Check(took.median, COLDEST, "ms"),),
        detail="One POST over a new connection to a torch function (256 × 256 product) that GET"
        " /functions shows without any replica, the fork server warm; each was checked to be a cold"
        f" start. Of it, the start of the replica as the gateway tells it: {start.text('ms')}.",
    )


def woken(lumbre: Server, pace: Pace) -> tuple[Sample, Sample]:
    """Milliseconds of calls to a function at zero, and of the start within each."""
    wake(lumbre)  # the fork server may have imported torch only now
    calls = [wake(lumbre) for _ in range(pace.wakes)]
    took = Sample.of(1e3 * seconds for seconds, _ in calls)
    return took, Sample.of(1e3 * start for _, start in calls)


def wake(lumbre: Server) -> tuple[float, float]:
    """Call the function once it is at zero; seconds of the call, and of the start within it."""
    until("product has no replica", lambda: _at_zero(lumbre), ZERO_LIMIT, ZERO_LOOK)
    began = time.perf_counter()
    answer = lumbre.ask("POST", "/invoke/product", "{}")
    took = time.perf_counter() - began
    if answer.status != 200 or answer.body != RESULT:
        raise BenchmarkError(f"product gave {answer.status}: {answer.body[:500]!r}")
    record = f"/invocations/{answer.headers['invocation-id']}"
    # Elsewhere than in one process the record comes a moment after the answer.
    until("there is a record", lambda: lumbre.ask("GET", record).status == 200, RECORD_LIMIT, 0.05)
    invocation = lumbre.get(record)
    if not invocation["cold"]:
        raise BenchmarkError("product answered from a replica that should not have been there")
    return took, invocation["timings"]["start"]


def start_to_ready(pace: Pace) -> Row:
    """Seconds from the spawn of `lumbre up` until /readyz says 200."""
    with scratch() as folder:
        with node(folder) as first:
            wake(first)  # describes the functions, makes the ledger, waits for torch
        took = []
        for _ in range(pace.starts):
            with node(folder) as lumbre:
                took.append(lumbre.started_in)
    ready = Sample.of(took)
    return Row(
        what="gateway start to ready",
        measured=ready.text("s"),
        checks=(Check(ready.median, SLOWEST, "s"),),
        detail="From just before the spawn of `python -m runtime up` until the first 200 of"
        " GET /readyz, asked every 5 ms; the state folder is there and the functions are described"
        " in it; files are in the page cache; torch is imported behind it.",
    )


def _at_zero(lumbre: Server) -> bool:
    counts = lumbre.get("/functions/product")["replicas"]["cpu"]
    return not any(counts.values())
