"""Runs of the benchmark that the console starts: one at a time, each a process and a folder.

A run is what its folder says, so it is there again after the gateway was started anew.  Its process
lives under a guard (`loadtest.servers.guard`) that ends it with all it started when the gateway is
gone, however that went.
"""

import asyncio
import os
import re
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from console.run_process import EVENTS, LOG, born, end, launch, missing
from runtime.errors import ConfigurationError, Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from loadtest.servers.guarded import Guarded

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")  # when it began, in UTC; it sorts
GRACE = 20.0  # seconds from SIGTERM, on which a run writes what it has, to SIGKILL
EVERY = 0.25  # seconds between two looks at a run's process
PLAN, ASKED = "plan.yaml", "run.json"
RESULTS = "job_results.json"
FILES = {  # what may be fetched from a run's folder, and what it is
    RESULTS: "application/json",
    "performance_comparison.csv": "text/csv; charset=utf-8",
    "performance_comparison.png": "image/png",
    "BENCHMARK_REPORT.md": "text/markdown; charset=utf-8",
    PLAN: "text/plain; charset=utf-8",
    LOG: "text/plain; charset=utf-8",
}
LOG_TAIL = 2000  # characters of a run's log that a page shows

State = Literal["running", "stopping", "ended", "stopped", "failed"]
Device = Literal["both", "cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks a run for; the defaults are those of one click."""

    functions: tuple[str, ...] = ()  # only these; empty is all
    device: Device = "both"
    quick: bool = True
    seed: int | None = None  # of the order of calls; None draws one
    plan: str = ""  # cases in YAML; empty is the shipped plan


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as its folder and its process say at this moment."""

    id: str
    folder: Path
    asked: Asked
    command: str  # the equal `lumbre bench …`
    began_at: float  # unix seconds
    ended_at: float | None
    pid: int
    born: int | None  # its process, as `born` tells it
    state: State
    busiest: int  # of the node's replicas, at most so many at work at once beside it
    disturbed: float  # seconds in which any of them was

    @property
    def going_on(self) -> bool:
        """Whether its process is still there."""
        return self.state in ("running", "stopping")

    @property
    def files(self) -> list[str]:
        """Names of what may be fetched from its folder."""
        return [name for name in FILES if (self.folder / name).is_file()]

    def log(self) -> str:
        """The end of what it said beside its events."""
        try:
            return (self.folder / LOG).read_text(errors="replace")[-LOG_TAIL:].strip()
        except FileNotFoundError:
            return ""


class Runs:
    """All runs whose folders are in one folder.

    `busy` tells how many of this machine's replicas are at work just now: they share its cores with
    what is measured.
    """

    def __init__(
        self,
        folder: Path,
        functions: list[Path],
        *,
        simulate_gpu: bool = False,
        busy: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._functions = functions
        self._simulate_gpu = simulate_gpu
        self._busy = busy
        self._clock = clock
        self._starting = asyncio.Lock()
        self._stopped: dict[str, float] = {}  # ids, and when they were told to
        self._beside: dict[str, tuple[int, float]] = {}  # ids of what runs: `busiest`, `disturbed`
        self._closed = False
        self._attending: set[asyncio.Task[None]] = set()

    async def start(self, asked: Asked) -> Run:
        """Begin a run.

        Conflict where one goes on already, Unavailable where what it needs is not installed.
        """
        if absent := missing():
            raise Unavailable(f"{absent} is not installed: pip install 'lumbre[loadtest]'", 3600)
        async with self._starting:
            if current := self.current():
                raise Conflict(
                    f"a benchmark is running already, /benchmarks/{current.id}: wait for its end"
                    " or stop it, since two at once would measure each other"
                )
            run, program = self._prepare(asked)
            guarded = await asyncio.to_thread(launch, program, run.folder)
            run = replace(run, pid=guarded.pid, born=born(guarded.pid))
            _keep(run)
        task = asyncio.create_task(self._attend(run, guarded), name=f"benchmark {run.id}")
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)
        return run

    def stop(self, id: str) -> Run:
        """Tell a run to end early: it writes what it has; Conflict where it has ended."""
        run = self.read(id)
        if not run.going_on:
            raise Conflict(f"benchmark {id} has ended already: its results are on its page")
        self._stopped.setdefault(id, time.monotonic())
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(run.pid, signal.SIGTERM)
        return self.read(id)

    def current(self) -> Run | None:
        """The run that goes on, whoever started it."""
        return next((run for run in self.latest(1) if run.going_on), None)

    def latest(self, count: int, before: str | None = None) -> list[Run]:
        """The newest runs, or the newest of those that began before one; the newest first."""
        return [self.read(id) for id in self.ids() if before is None or id < before][:count]

    def ids(self) -> list[str]:
        """Of all runs, the newest first."""
        try:
            names = [entry.name for entry in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        found = [n for n in names if ID.fullmatch(n) and (self._folder / n / ASKED).is_file()]
        return sorted(found, reverse=True)

    def read(self, id: str) -> Run:
        """One run; NotFound where there is none."""
        file = self._folder / id / ASKED
        if not ID.fullmatch(id) or not file.is_file():
            raise NotFound(f"there is no benchmark {id}: /benchmarks lists those there are")
        told = orjson.loads(file.read_bytes())
        functions = tuple(told["asked"].pop("functions"))
        run = Run(
            id=id,
            folder=file.parent,
            asked=Asked(functions, **told.pop("asked")),
            ended_at=None,
            state="running",
            **told,
        )
        if _alive(run):
            busiest, disturbed = self._beside.get(id, (run.busiest, run.disturbed))
            state: State = "stopping" if id in self._stopped else "running"
            return replace(run, state=state, busiest=busiest, disturbed=disturbed)
        return replace(run, state=self._end_of(run), ended_at=_last_written(run.folder))

    async def settled(self) -> None:
        """Wait until what was started here has ended."""
        await asyncio.gather(*self._attending)

    async def close(self) -> None:
        """End what runs, and wait for it."""
        self._closed = True
        await asyncio.gather(*self._attending, return_exceptions=True)

    # ── one run ───────────────────────────────────────────────────────────────────────────────

    def _prepare(self, asked: Asked) -> tuple[Run, list[str]]:
        """Its folder with what was asked, and the program to start."""
        began = self._clock()
        stamp = datetime.fromtimestamp(began, UTC).strftime("%Y%m%d-%H%M%S")
        folder = self._folder / f"{stamp}-{secrets.token_hex(2)}"
        try:
            folder.mkdir(parents=True)
            if asked.plan:
                (folder / PLAN).write_text(asked.plan)
        except OSError as error:
            raise ConfigurationError(
                f"the state folder {self._folder} cannot be written ({error.strerror}): set"
                " LUMBRE_STATE"
            ) from None
        seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
        asked = replace(asked, seed=seed)
        options = self._options(asked, folder)
        names = [word for name in asked.functions for word in ("--function", name)]
        program = [sys.executable, "-m", "loadtest.suite", "--events", "--out", str(folder)]
        command = shlex.join(["lumbre", "bench", *asked.functions, *options])
        run = Run(folder.name, folder, asked, command, began, None, 0, None, "running", 0, 0.0)
        return run, [*program, *names, *options]

    def _options(self, asked: Asked, folder: Path) -> list[str]:
        """Those that the program and `lumbre bench` have both."""
        options = ["--functions", ":".join(map(str, self._functions)), "--seed", str(asked.seed)]
        options += ["--device", asked.device] if asked.device != "both" else []
        options += ["--quick"] if asked.quick else []
        options += ["--plan", str(folder / PLAN)] if asked.plan else []
        options += ["--simulate-gpu"] if self._simulate_gpu and asked.device != "cpu" else []
        return options

    async def _attend(self, run: Run, guarded: "Guarded") -> None:
        """Watch a run until it and all it started are gone; closing ends it, so does a cancel."""
        looked = time.monotonic()
        busiest, disturbed = 0, 0.0
        try:
            while guarded.alive and not self._closed:
                await asyncio.sleep(EVERY)
                now = time.monotonic()
                if busy := self._busy():
                    busiest, disturbed = max(busiest, busy), disturbed + now - looked
                    self._beside[run.id] = (busiest, disturbed)
                looked = now
                if now - self._stopped.get(run.id, now) > GRACE:
                    guarded.send(signal.SIGKILL)
        finally:
            await asyncio.to_thread(end, guarded)
            if busiest:
                _keep(replace(run, busiest=busiest, disturbed=disturbed))

    def _end_of(self, run: Run) -> State:
        """How a run ended whose process is gone."""
        if not (run.folder / RESULTS).is_file():
            return "stopped" if run.id in self._stopped else "failed"
        return "stopped" if _interrupted(run.folder) else "ended"


def _keep(run: Run) -> None:
    """Write what a folder cannot tell by itself, whole or not at all."""
    told: dict[str, Any] = {
        "asked": asdict(run.asked),
        "command": run.command,
        "began_at": run.began_at,
        "pid": run.pid,
        "born": run.born,
        "busiest": run.busiest,
        "disturbed": run.disturbed,
    }
    beside = run.folder / f".{ASKED}"
    beside.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    beside.replace(run.folder / ASKED)


def _alive(run: Run) -> bool:
    """Whether the run's own process is there, and not another one that has its number by now."""
    return run.born is not None and born(run.pid) == run.born


def _last_written(folder: Path) -> float | None:
    written = [file.stat().st_mtime for file in folder.iterdir() if file.name in {*FILES, EVENTS}]
    return max(written, default=None)


def _interrupted(folder: Path) -> bool:
    """Whether a run says that it was told to end early."""
    with (folder / EVENTS).open("rb") as events:
        events.seek(max(0, events.seek(0, os.SEEK_END) - 65_536))
        last = events.read().splitlines()[-1:]
    return bool(last) and b'"interrupted":"' in last[0]
