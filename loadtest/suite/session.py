"""One run of the suite: from a plan to results, on replicas of its own and without a node.

`run` is for a program with an event loop, `bench` for a command; both tell of every step as an
event that is JSON.
"""

import asyncio
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.fingerprint import load_average
from loadtest.suite.agreement import Agreement
from loadtest.suite.block import Block
from loadtest.suite.caller import Caller
from loadtest.suite.case import Case
from loadtest.suite.ceilings import Ceilings
from loadtest.suite.cold import ColdStarts
from loadtest.suite.event import Event, Tell
from loadtest.suite.machine import cpu_facts, cpu_name, gpu_facts, machine_facts, other_work
from loadtest.suite.options import Options
from loadtest.suite.places import find_places
from loadtest.suite.plan import read_plan
from loadtest.suite.results import Cold, DeviceFacts, Results
from loadtest.suite.schedule import Schedule
from loadtest.suite.selection import check_folders, refresh, select
from loadtest.suite.subject import CallFailed, Subject
from runtime.catalog import Catalog, imports_torch
from runtime.model import Device

OWN = Path(__file__).parent / "functions"
FACTS_LIMIT = 120.0  # seconds that a replica may take to tell what torch is


async def run(options: Options, tell: Tell, stop: asyncio.Event | None = None) -> Results:
    """Measure what was asked for; `stop` ends it early, with what was measured until then.

    Must run in the main thread.  ConfigurationError where plan or folders cannot be used.
    """
    session = Session(options, tell)
    return await session.run(stop or asyncio.Event())


def bench(options: Options, watch: Tell) -> Results:
    """The same for a command: SIGINT and SIGTERM end it early; a second SIGINT at once."""
    return asyncio.run(_until_signal(options, watch))


async def _until_signal(options: Options, watch: Tell) -> Results:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return await run(options, watch, stop)


class Session:
    """What is known of a run by now."""

    def __init__(self, options: Options, tell: Tell) -> None:
        check_folders(options.folders)
        self.options = options
        self.plan = read_plan(options.plan)
        self.effort = self.plan.effort(quick=options.quick)
        self.schedule = Schedule(options.seed)
        self.places = find_places(
            options.devices, simulate_gpu=options.simulate_gpu, threads=options.threads
        )
        self.notes: list[str] = []
        self._listener = tell
        self._began_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._began = time.perf_counter()
        self._load_before = load_average()
        self._blocks: list[Block] = []
        self._agreements: dict[int, Agreement] = {}  # by block
        self._devices: list[DeviceFacts] = []
        self._ceilings: Ceilings | None = None
        self._colds: list[Cold] = []
        self._interrupted: str | None = None
        self._done = 0  # cells
        self._catalog: Catalog
        self._blobs: Path

    async def run(self, stop: asyncio.Event) -> Results:
        """Measure until all is measured or `stop` is set."""
        work = asyncio.create_task(self._measure())
        told = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._interrupted = f"it was told to stop after {self._seconds():.0f} s"
        finally:
            told.cancel()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
        results = self._results()
        ended = {"seconds": results.seconds, "interrupted": results.interrupted}
        self._tell({"event": "ended", **ended, "notes": list(results.notes)})
        return results

    # ── steps ─────────────────────────────────────────────────────────────────────────────────

    async def _measure(self) -> None:
        if note := other_work(self._load_before):
            self.notes.append(note)
        with TemporaryDirectory(prefix="lumbre-bench-") as folder:
            self._blobs = Path(folder, "blobs")
            self._catalog = Catalog(self.options.folders, Path(folder, "catalog.json"))
            try:
                await self._prepare()
                for block in self.schedule.shuffled(self._blocks):
                    await self._measure_block(block)
                if self._ceilings:
                    await self._ceilings.measure()
            finally:
                self._catalog.close()

    async def _prepare(self) -> None:
        """Find functions and devices, and what the devices can do at most."""
        await refresh(self._catalog)
        selection = select(self.options, self.plan, self._catalog)
        self.notes += selection.notes
        torch = any(imports_torch(case.spec.file) for case in selection.cases)
        if torch or any(place.gpu for place in self.places.found.values()):
            self._catalog.folders.append(OWN)
            await refresh(self._catalog)
        await self._look_at_devices()
        self.notes += self.places.notes
        self._divide(selection.cases)
        self._tell_began()
        if torch and self.plan.ceilings and self._blocks:
            self._ceilings = Ceilings(
                self.places.found,
                lambda device: self._subject("suite_ceiling", device),
                self._tell,
                quick=self.options.quick,
            )
            await self._ceilings.measure()

    async def _look_at_devices(self) -> None:
        """Ask torch, in a replica on each device; a GPU that cannot be used is none."""
        for device, place in list(self.places.found.items()):
            told: dict[str, Any] | None = None
            try:
                told = await self._ask_torch(device)
            except CallFailed as error:
                if place.gpu:
                    reason = f"the GPU cannot be used: {error}"
                    self.places.drop(device, reason, reason)
                    continue
                self.notes.append(f"torch says nothing of the {device}: {error}")
            gpu = place.gpu is not None and told is not None
            name = str(told["gpu"]["name"]) if gpu and told else cpu_name()
            facts = gpu_facts(place.gpu or "", told) if gpu and told else cpu_facts(told)
            threads = None if gpu else place.threads
            self._devices.append(DeviceFacts(device, name, place.simulated, threads, facts))

    async def _ask_torch(self, device: Device) -> dict[str, Any] | None:
        """What `suite_torch` tells; None where no function needs torch."""
        if OWN not in self._catalog.folders:
            return None
        subject = self._subject("suite_torch", device)
        try:
            return dict((await subject.call({}, FACTS_LIMIT)).result)
        finally:
            await subject.close()

    def _divide(self, cases: tuple[Case, ...]) -> None:
        """A block for each function."""
        for name in dict.fromkeys(case.spec.name for case in cases):
            own = [case for case in cases if case.spec.name == name]
            devices = [d for d in self.places.found if d in own[0].devices]
            if not devices:
                self.notes.append(f"{name} is not measured: it runs on {own[0].devices[0]} only")
                continue
            caller = Caller({device: self._subject(name, device) for device in devices})
            block = Block(own, caller, self.effort, self.schedule, self._tell)
            self._blocks.append(block)
            self._agreements[id(block)] = Agreement(block, self.places.absent, self._tell)

    async def _measure_block(self, block: Block) -> None:
        try:
            await block.measure()
            await self._agreements[id(block)].check()
        finally:
            await block.caller.close()
        name = block.cases[0].spec.name
        cold = ColdStarts(
            block.entries,
            lambda device: self._subject(name, device),
            self.schedule,
            self._tell,
            self._colds,
            self.notes,
        )
        await cold.measure(self.effort.cold)

    # ── what came of it ───────────────────────────────────────────────────────────────────────

    def _subject(self, function: str, device: Device) -> Subject:
        spec = self._catalog.functions.get(function)
        if spec is None:
            broken = self._catalog.broken.get(function)
            why = f"{broken.error.type}: {broken.error.message}" if broken else "it is not there"
            raise CallFailed(f"{function} cannot be used: {why}")
        return Subject(spec, self.places.found[device], self._catalog.zygote, self._blobs)

    def _results(self) -> Results:
        if self._interrupted:
            for block in self._blocks:
                block.interrupt()
        return Results(
            began_at=self._began_at,
            seconds=self._seconds(),
            quick=self.options.quick,
            seed=self.options.seed,
            plan=str(self.options.plan),
            confidence=self.effort.confidence,
            precision=self.effort.precision,
            machine=machine_facts(),
            load_before=self._load_before,
            load_after=load_average(),
            devices=tuple(self._devices),
            ceilings=tuple(self._ceilings.best.values()) if self._ceilings else (),
            cells=tuple(entry.cell() for block in self._blocks for entry in block.entries),
            colds=tuple(self._colds),
            parities=tuple(
                parity
                for block in self._blocks
                for parity in self._agreements[id(block)].parities()
            ),
            notes=tuple(self._all_notes()),
            interrupted=self._interrupted,
        )

    def _seconds(self) -> float:
        return time.perf_counter() - self._began

    def _all_notes(self) -> list[str]:
        """Those of the run, its ceilings and its blocks."""
        notes = list(self.notes)
        if self._ceilings:
            notes += self._ceilings.notes
        return notes + [note for block in self._blocks for note in block.notes]

    def _tell_began(self) -> None:
        devices = [
            {"device": d.kind, "name": d.name, "simulated": d.simulated, "threads": d.threads}
            for d in self._devices
        ]
        options = {"quick": self.options.quick, "seed": self.options.seed}
        self._tell({"event": "began", "devices": devices, "notes": list(self.notes)} | options)

    def _tell(self, event: Event) -> None:
        """Pass an event on; those of calls say how many of all cells have ended."""
        if event["event"] in ("began", "sample", "cell"):
            self._done += event["event"] == "cell"
            event |= {"done": self._done, "total": sum(len(b.entries) for b in self._blocks)}
        self._listener(event)
