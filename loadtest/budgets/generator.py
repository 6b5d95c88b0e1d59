"""`make bench-generator`: the load test beside wrk, on one server.

Measures whether `lumbre loadtest` tells the same of a server as wrk does.  wrk must be installed.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import report
from loadtest.budgets.benchmark import Benchmark
from loadtest.budgets.pace import FULL, QUICK, Pace
from loadtest.budgets.row import Check, Row, Sample
from loadtest.budgets.server import BenchmarkError, Server, echo, running, scratch
from loadtest.latencies import Latencies
from loadtest.outcome import TOTAL
from runtime.model import Status

SERVER = (sys.executable, "-m", "loadtest.budgets.delayed")
PATH = "/invoke/echo"  # what the load test asks of a function named echo
BODY = '{"x":1}'
APART = 10.0  # percent
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
LIMIT = 60.0  # seconds that a run may take beside its load

METHOD = """\
`lumbre loadtest` and `wrk` (one thread) send the same request to the same server from as many
connections, each again as soon as it has its answer, in turns: round after round, and the median
of the rounds' ratios counts. The server answers after 20 ms, at next to no cost
(`loadtest/budgets/delayed.py`), so neither it nor the generators are at their limit and both should
tell the same. The last row's server is a bare Starlette echo, which is at its limit: there the
generators compete with it for the cores, and what it shows is how much load one process can drive.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What a generator said of a server."""

    rate: float  # answers a second
    p50: float  # seconds
    cpu: float = 0.0  # share of a core that the generator used


def rows(pace: Pace) -> Iterator[Row]:
    """Measure one row after the other."""
    if not shutil.which("wrk"):
        raise BenchmarkError("wrk is not installed: on Debian, apt-get install wrk")
    with scratch() as folder:
        with running("delayed", SERVER, "/", folder, {}) as server:
            for connections in (4, 16, 64):
                yield _alike(server, connections, pace, folder)
        with echo(folder) as server:
            yield _drives(server, 16, pace, folder)


def _alike(server: Server, connections: int, pace: Pace, folder: Path) -> Row:
    ours, theirs = _turns(server, connections, pace, folder)
    rate = Sample.of(o.rate / t.rate for o, t in zip(ours, theirs, strict=True))
    p50 = Sample.of(o.p50 / t.p50 for o, t in zip(ours, theirs, strict=True))
    return Row(
        what=f"the load test beside wrk, {connections} connections",
        measured=f"throughput {rate.text('× wrk’s')}, p50 {p50.text('× wrk’s')}",
        checks=(
            Check(100 * abs(rate.median - 1), APART, "% apart in throughput"),
            Check(100 * abs(p50.median - 1), APART, "% apart in p50"),
        ),
        detail=_detail(ours, theirs),
    )


def _drives(server: Server, connections: int, pace: Pace, folder: Path) -> Row:
    ours, theirs = _turns(server, connections, pace, folder)
    rate = Sample.of(told.rate for told in ours)
    return Row(
        what=f"what one process of the load test drives, {connections} connections",
        measured=rate.text("requests a second"),
        checks=(Check(rate.median, 5000, "requests a second", at_least=True),),
        detail=f"A bare Starlette echo on the same cores. {_detail(ours, theirs)}",
    )


def _turns(
    server: Server, connections: int, pace: Pace, folder: Path
) -> tuple[list[Told], list[Told]]:
    ours, theirs = [], []
    for _ in range(pace.rounds):
        ours.append(_load_test(server, connections, pace.seconds, folder))
        theirs.append(_wrk(server, connections, pace.seconds, folder))
    return ours, theirs


def _load_test(server: Server, connections: int, seconds: float, folder: Path) -> Told:
    """Run the command as anybody would, and read its report."""
    line = ("echo", "x=1", f"--url={server.url('')}", f"-c{connections}", f"--seconds={seconds}")
    _run((sys.executable, "-m", "loadtest", *line, "--quiet", f"--out={folder}"))
    outcome = report.read(folder)
    total, answered = Latencies(), 0
    for group in outcome.groups:
        if group.status != Status.SUCCEEDED:
            raise BenchmarkError(f"{group.count} requests of the load test were {group.status}")
        total.add(Latencies.decode(group.phases[TOTAL]))
        answered += group.count
    return Told(answered / outcome.seconds, total.percentile(50), outcome.generator.cpu)


def _wrk(server: Server, connections: int, seconds: float, folder: Path) -> Told:
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{BODY}'\n"
        "wrk.headers['Content-Type'] = 'application/json'\n"
    )
    shape = ("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency")
    said = _run(("wrk", *shape, "-s", str(script), server.url(PATH)))
    if "Non-2xx" in said or "Socket errors" in said:
        raise BenchmarkError(f"wrk was not answered as it should be:\n{said}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s|m)", said)
    if not rate or not p50:
        raise BenchmarkError(f"wrk said what cannot be read:\n{said}")
    return Told(float(rate[1]), float(p50[1]) * UNITS[p50[2]])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def _detail(ours: Sequence[Told], theirs: Sequence[Told]) -> str:
    def text(told: Sequence[Told]) -> str:
        rate, p50 = (Sample.of(t.rate for t in told), Sample.of(t.p50 for t in told))
        return f"{rate.median:,.0f} requests/s, p50 {1e3 * p50.median:.2f} ms"

    cpu = Sample.of(told.cpu for told in ours).median
    return f"The load test: {text(ours)}, {cpu:.0%} of a core; wrk: {text(theirs)}."


BENCHMARK = Benchmark(
    module="loadtest.budgets.generator",
    section="The load test",
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
