"""`make bench`: what `lumbre up` costs on this machine, beside what it is to be compared with.

Each row of the design's budgets that one machine can show is measured, printed, and written to
docs/benchmarks.md.  It starts and ends its own servers, on loopback, and takes some minutes.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from loadtest.backlog import queued
from loadtest.fingerprint import fingerprint, load_average
from loadtest.pace import FULL, QUICK, Pace
from loadtest.replicas import replica_memory, replica_start
from loadtest.report import Report
from loadtest.row import Row
from loadtest.server import BenchmarkError, echo, node, scratch
from loadtest.starts import after_zero, start_to_ready, wake
from loadtest.throughput import acceptances, latency, throughput

PAGE = Path("docs/benchmarks.md")
QUEUE_LIMIT = 1_000_000  # acceptances may run ahead of the replicas


def rows(pace: Pace) -> Iterator[Row]:
    """Measure one row after the other."""
    with scratch() as folder, node(folder, queue_limit=QUEUE_LIMIT) as lumbre, echo(folder) as raw:
        wake(lumbre)  # so that nothing imports torch behind what follows
        for connections in (16, 64):
            yield throughput(raw, lumbre, connections, pace)
        yield latency(raw, lumbre, pace)
        yield acceptances(lumbre, pace)
        yield after_zero(lumbre, pace)
    yield asyncio.run(replica_start(pace))
    yield asyncio.run(replica_memory())
    yield queued(pace)
    yield start_to_ready(pace)


def run(pace: Pace, console: Console) -> Report:
    """Measure everything, and tell each row as it comes."""
    with scratch() as folder:
        machine = fingerprint(folder)
    before, began = load_average(), time.monotonic()
    measured = []
    for row in rows(pace):
        console.print(
            f"{row.what}: {row.measured} – {row.verdict}", highlight=False, soft_wrap=True
        )
        measured.append(row)
    seconds = time.monotonic() - began
    return Report(measured, machine, before, load_average(), seconds, pace is QUICK)


def main(line: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it could be measured, whatever it measured."""
    parser = argparse.ArgumentParser("python -m loadtest.embedded", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute; written only with --out")
    parser.add_argument("--out", type=Path, help=f"where the page goes; {PAGE} if not --quick")
    given = parser.parse_args(line)
    page: Path | None = given.out or (None if given.quick else PAGE)
    progress = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        report = run(QUICK if given.quick else FULL, progress)
    except BenchmarkError as error:
        progress.print(f"[red]the benchmark stopped:[/] {error}", highlight=False)
        return 1
    Console().print(report.table())
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(report.markdown())
        progress.print(f"written to {page}", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
