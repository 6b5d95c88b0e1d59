"""`make bench`: what `lumbre up` costs on this machine, beside what it is to be compared with.

Each row of the design's budgets that one machine can show is measured, printed, and written to
docs/benchmarks.md.  It starts and ends its own servers, on loopback, and takes some minutes.
"""

import asyncio
from collections.abc import Iterator, Sequence

from loadtest.budgets.backlog import queued
from loadtest.budgets.benchmark import Benchmark
from loadtest.budgets.console import open_tabs, overview_poll
from loadtest.budgets.pace import FULL, QUICK, Pace
from loadtest.budgets.replicas import replica_memory, replica_start
from loadtest.budgets.row import Row
from loadtest.budgets.server import echo, node, scratch
from loadtest.budgets.starts import after_zero, start_to_ready, wake
from loadtest.budgets.throughput import acceptances, latency, throughput

QUEUE_LIMIT = 1_000_000  # acceptances may run ahead of the replicas

METHOD = """\
`lumbre up`: gateway, queues, ledger (SQLite) and worker in one process, replicas in others.

Each budget is a ratio, or a time that a person waits, and is measured beside what it is compared
with, in one run and on one machine: both servers are up at once and take turns, round after round,
and the median of the rounds' ratios counts, since the speed of a shared machine changes more
within minutes than the servers differ. A number is given as its median, with the least and the
most in brackets and how many there were. Client, gateway and replicas share the cores. These are
measurements and not tests: nothing fails when one is missed, and it is said here by how much. Why
is in [Where the time of a no-op goes](architecture.md#the-hot-path).

The echo is a bare Starlette application on uvicorn (uvloop, httptools, no access log, otherwise
uvicorn's defaults) that parses a JSON request and gives it back as a `JSONResponse`
(`loadtest/budgets/echo.py`). `lumbre up` runs with its defaults and the functions of
`loadtest/budgets/functions`; a no-op goes through its queue to a replica in another process and
into the ledger. Load comes from a closed loop in a process of its own
(`loadtest/budgets/closed.py`), which checks the status and the body of every answer and tells its
own CPU time; an error makes a row void.
"""


def rows(pace: Pace) -> Iterator[Row]:
    """Measure one row after the other."""
    with scratch() as folder, node(folder, queue_limit=QUEUE_LIMIT) as lumbre, echo(folder) as raw:
        wake(lumbre)  # so that nothing imports torch behind what follows
        for connections in (16, 64):
            yield throughput(raw, lumbre, connections, pace)
        yield latency(raw, lumbre, pace)
        yield acceptances(lumbre, pace)
        yield after_zero(lumbre, pace)
        yield open_tabs(lumbre, pace)
    yield asyncio.run(replica_start(pace))
    yield asyncio.run(replica_memory())
    yield queued(pace)
    yield start_to_ready(pace)
    yield overview_poll(pace)


BENCHMARK = Benchmark(
    module="loadtest.budgets.embedded",
    section="One process",
    method=METHOD,
    full=FULL,
    quick=QUICK,
    rows=lambda pace, facts: rows(pace),
)


def main(line: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it could be measured, whatever it measured."""
    return BENCHMARK.main(line, __doc__)


if __name__ == "__main__":
    raise SystemExit(main())
