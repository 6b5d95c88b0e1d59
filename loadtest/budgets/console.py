"""What the console costs: a refresh of its overview over a full ledger, and fifty open tabs."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest.budgets.closed import Load, Measured, measure
from loadtest.budgets.cpu import spent
from loadtest.budgets.filled import fill
from loadtest.budgets.pace import Pace
from loadtest.budgets.row import Check, Row, Sample, figure
from loadtest.budgets.server import BenchmarkError, Server, node, scratch
from loadtest.budgets.throughput import BODY, NOOP
from loadtest.ending import end

PARTIAL = {
    "Accept": "text/html, */*",
    "HX-Request": "true",
    "HX-Request-Type": "partial",
    "HX-Target": "div#live",
}
POLL = 20.0  # milliseconds of server time
FRESH = 1.05  # seconds between two polls, so that each is made anew
RANGES = ("5m", "1h", "24h")
TABS = 50
SETTLE = 3.0  # seconds until fifty tabs have all begun
UNSLOWED = 95.0  # percent of the throughput without tabs that counts as not slower
EVER = 0  # the setting for records that are never purged


def overview_poll(pace: Pace) -> Row:
    """Milliseconds of a refresh of the overview, with many invocations in the ledger."""
    with scratch() as folder:
        asyncio.run(fill(folder / "state", pace.recorded))
        with node(folder, retention_count=EVER) as lumbre:
            for asked in RANGES:
                _poll(lumbre, asked)  # templates are loaded, and old pages come into the cache
            rounds = {asked: _polls(lumbre, asked, pace.polls) for asked in RANGES}
            whole = _whole(lumbre, pace.polls)
    latest = Sample.of(took for took, _ in rounds["5m"])
    told = "; ".join(
        f"{asked}: {Sample.of(took for took, _ in polls).text('ms')},"
        f" of which {Sample.of(cpu for _, cpu in polls).text('ms')} are CPU time of the gateway"
        for asked, polls in rounds.items()
    )
    worst = max(Sample.of(took for took, _ in polls).median for polls in rounds.values())
    return Row(
        what=f"refresh of the console's overview, {pace.recorded:,} invocations in the ledger",
        measured=latest.text("ms"),
        checks=(Check(worst, POLL, "ms"),),
        detail=f"GET / as htmx asks for it, over a new connection, {FRESH} s after the last, so"
        f" that none is a copy of the one before. By range: {told}; the budget is held against the"
        " slowest of them. The first range's CPU time has the full audit in it, which compares all"
        f" rows in a thread once somebody looks. The whole page: {whole.text('ms')}.",
    )


def open_tabs(lumbre: Server, pace: Pace) -> Row:
    """Throughput of no-ops while fifty tabs show the overview, as a share of that without."""
    rounds = []
    polls: list[float] = []
    faults: list[str] = []
    load = Load(lumbre.url(NOOP), 16, pace.seconds, body=BODY, answer=BODY)
    measure(Load(load.url, 16, pace.warm_up, body=BODY))
    for _ in range(pace.rounds):
        without = measure(load)
        with tabs(lumbre) as told:
            time.sleep(SETTLE)
            beside = measure(load)
        polls += told["took"]
        faults += told["faults"]
        rounds.append((without, beside))
    return tabs_row(rounds, polls, faults)


def tabs_row(rounds: list[tuple[Measured, Measured]], polls: list[float], faults: list[str]) -> Row:
    """The row of open tabs, from rounds without and with them."""
    share = Sample.of(100 * beside.rate / max(1, without.rate) for without, beside in rounds)
    p50 = [Sample.of(1e3 * pair[side].p50 for pair in rounds).median for side in (0, 1)]
    p99 = [Sample.of(1e3 * pair[side].p99 for pair in rounds).median for side in (0, 1)]
    slow = Sample.of(1e3 * took for took in polls).median if polls else float("nan")
    errors = sum(one.errors for pair in rounds for one in pair)
    return Row(
        what=f"synchronous no-op at 16 connections with {TABS} open tabs",
        measured=f"{share.text('%')} of the throughput without",
        checks=(Check(share.median, UNSLOWED, "%", at_least=True),),
        detail=f"{TABS} tabs refresh the overview every 2 s each ({len(polls):,} refreshes, median"
        f" {figure(slow)} ms under this load); a refresh is made once a second for all that ask for"
        f" the same. p50 {figure(p50[0])} ms without and {figure(p50[1])} ms with them, p99"
        f" {figure(p99[0])} and {figure(p99[1])} ms. The tabs are a process on the same cores."
        f" Errors: {errors}.",
        faults=tuple(faults[:3]) + ((f"{errors} errors",) if errors else ()),
    )


@contextmanager
def tabs(lumbre: Server, count: int = TABS) -> Iterator[dict[str, Any]]:
    """Fifty tabs while the block runs; afterwards the dict has what they saw."""
    command = [sys.executable, "-m", "loadtest.budgets.tabs", lumbre.url("/"), f"--tabs={count}"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
    told: dict[str, Any] = {}
    try:
        yield told
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
        told |= json.loads(output)
    finally:
        end(process)


def _polls(lumbre: Server, asked: str, count: int) -> list[tuple[float, float]]:
    """Milliseconds that each took, and of the gateway's CPU time, on average over all."""
    took = []
    before, began = spent(lumbre.pid), time.perf_counter()
    for _ in range(count):
        time.sleep(FRESH)
        took.append(_poll(lumbre, asked))
    busy, elapsed = spent(lumbre.pid) - before, time.perf_counter() - began
    time.sleep(elapsed / 2)  # what it uses when nobody looks is not the refreshes'
    idle = (spent(lumbre.pid) - before - busy) * 2
    cpu = max(0.0, 1e3 * (busy - idle) / count)
    return [(each, cpu) for each in took]


def _poll(lumbre: Server, asked: str) -> float:
    """Milliseconds of one refresh."""
    began = time.perf_counter()
    answer = lumbre.ask("GET", f"/?range={asked}", headers=PARTIAL)
    took = 1e3 * (time.perf_counter() - began)
    if answer.status != 200 or b'id="live"' not in answer.body:
        raise BenchmarkError(f"GET /?range={asked} gave {answer.status}: {answer.body[:300]!r}")
    return took


def _whole(lumbre: Server, count: int) -> Sample:
    """Milliseconds of the whole page."""
    took = []
    for _ in range(count):
        time.sleep(FRESH)
        began = time.perf_counter()
        answer = lumbre.ask("GET", "/", headers={"Accept": "text/html"})
        took.append(1e3 * (time.perf_counter() - began))
        if answer.status != 200:
            raise BenchmarkError(f"GET / gave {answer.status}")
    return Sample.of(took)
