"""The pages of benchmarks: start one, follow it, read what it found, compare two."""

import asyncio
import socket
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, Response

import loadtest
from console.app import see_other
from console.page import Action, Again, Download, Page, View
from console.run_comparison import comparison
from console.run_process import EVENTS, missing
from console.run_progress import Progress
from console.run_report import markdown, report
from console.runs import FILES, RESULTS, Asked, Device, Run, Runs
from console.sources import Sources
from runtime.errors import Conflict, InvalidInput, LumbreError, NotFound, TooLarge

SECTION = "benchmarks"
LISTED = 30  # runs of one page
LONGEST_FORM = 131_072  # bytes; a plan is all that is long in it
SHIPPED = Path(loadtest.__file__).parent / "plans" / "bench.yaml"
DEVICES: dict[str, Device] = {"both": "both", "cpu": "cpu", "gpu": "gpu"}
COMPARED = 8  # comparisons that are kept, since each computes for a second


class Benchmarks:
    """Runs of the suite of `loadtest`, on the machine of this process."""

    def __init__(self, sources: Sources) -> None:
        settings = sources.settings
        self._sources = sources
        self._runs = Runs(
            settings.state.resolve() / "benchmarks",
            settings.folders,
            simulate_gpu=settings.simulate_gpu,
            busy=self._busy,
        )
        self._page = Page("/benchmarks", "benchmarks.html", SECTION, self.show, shared=True)
        self._progress: dict[str, Progress] = {}  # of runs that go on
        self._headlines: dict[str, dict[str, Any] | None] = {}  # of runs that have ended
        self._compared: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def pages(self) -> list[Page]:
        return [
            self._page,
            Page("/benchmarks/compare", "benchmark_compare.html", SECTION, self.show_comparison),
            Page("/benchmarks/{id}", "benchmark.html", SECTION, self.show_run, shared=True),
        ]

    @property
    def actions(self) -> list[Action]:
        return [
            Action("/benchmarks", self.start, "admin"),
            Action("/benchmarks/{id}/stop", self.stop, "admin"),
        ]

    @property
    def downloads(self) -> list[Download]:
        return [Download("/benchmarks/{id}/files/{name}", self.send)]

    async def close(self) -> None:
        """End what runs: it is measured on the cores of a machine that is about to do else."""
        await self._runs.close()

    # ── pages ─────────────────────────────────────────────────────────────────────────────────

    async def show(self, request: Request) -> View:
        """What can be started, what runs, and what ran."""
        chosen = request.query_params.getlist("function")
        given = {"device": "both", "effort": "quick", "seed": "", "plan": ""}
        return await self._shown(request.query_params.get("before"), chosen, given, None)

    async def _shown(
        self,
        before: str | None,
        chosen: Sequence[str],
        given: dict[str, str],
        fault: dict[str, str] | None,
    ) -> View:
        """The page with its form as it was filled in, and what was wrong with that."""
        ids = [id for id in self._runs.ids() if before is None or id < before]
        current = self._runs.current()
        listed = [await self._row(self._runs.read(id)) for id in ids[:LISTED]]
        return {
            **self._where(),
            "current": self._following(current) if current else None,
            "chosen": sorted(set(chosen)),
            "given": given,
            "fault": fault,
            "functions": [
                {
                    "name": spec.name,
                    "devices": list(spec.devices),
                    "chosen": spec.name in chosen,
                }
                for spec in sorted(self._catalog.values(), key=lambda spec: spec.name)
            ],
            "shipped_plan": shipped_plan(),
            "runs": listed,
            "next": f"/benchmarks?{urlencode({'before': ids[LISTED - 1]})}"
            if len(ids) > LISTED
            else None,
            "paged": before is not None,
        }

    async def show_run(self, request: Request) -> View:
        """One run: its progress while it goes on, and then what it found."""
        run = self._runs.read(request.path_params["id"])
        told: View = {**self._where(), "run": _run(run), "progress": None, "report": None}
        told |= {"trouble": None, "log": "", "markdown": ""}
        if run.going_on:
            return told | {"progress": self._following(run)["progress"]}
        self._progress.pop(run.id, None)
        if not (run.folder / RESULTS).is_file():
            return told | {"log": run.log()}
        try:
            found = await asyncio.to_thread(report, run.folder)
        except LumbreError as error:
            return told | {"trouble": str(error), "log": run.log()}
        return told | {"report": found, "markdown": markdown(run.folder)}

    async def show_comparison(self, request: Request) -> View:
        """Two runs: `a` and `b`, or two times `run`, of which the older comes first."""
        query = request.query_params
        ticked = sorted(set(query.getlist("run")))
        given = [query["a"], query["b"]] if "a" in query and "b" in query else ticked
        if len(given) != 2:
            return {"pair": None, "ticked": len(given), "trouble": None, "found": None}
        pair = [self._runs.read(id) for id in given]
        told: View = {"pair": [_run(run) for run in pair], "ticked": 2, "trouble": None}
        try:
            return told | {"found": await self._comparison(pair[0], pair[1])}
        except LumbreError as error:
            return told | {"found": None, "trouble": str(error)}

    # ── actions ───────────────────────────────────────────────────────────────────────────────

    async def start(self, request: Request) -> Response | Again:
        """Begin a run, and lead to its page; a form that cannot be used is shown once more."""
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LONGEST_FORM:
            raise TooLarge(f"the form is larger than {LONGEST_FORM:,} bytes: send a shorter plan")
        async with request.form() as form:
            pairs = [(name, str(value).strip()) for name, value in form.multi_items()]
        chosen = [value for name, value in pairs if name == "function" and value]
        given = {"device": "both", "effort": "quick", "seed": "", "plan": ""}
        given |= {name: value for name, value in pairs if name in given}
        try:
            asked = self._asked(chosen, given)
            if asked.plan:
                await asyncio.to_thread(_check_plan, asked.plan)
            run = await self._runs.start(asked)
        except (InvalidInput, Conflict) as error:
            view = await self._shown(None, chosen, given, _fault(error))
            return Again(self._page, view, error.status)
        return see_other(f"/benchmarks/{run.id}")

    async def stop(self, request: Request) -> Response:
        """End a run early; it writes what it has by then."""
        run = self._runs.stop(request.path_params["id"])
        return see_other(f"/benchmarks/{run.id}")

    async def send(self, request: Request) -> Response:
        """A file of a run; a picture is shown, all else is saved."""
        run, name = self._runs.read(request.path_params["id"]), request.path_params["name"]
        if name not in run.files:
            there = ", ".join(run.files) or "none yet"
            raise NotFound(f"benchmark {run.id} has no file {name}; there are: {there}")
        shown = "inline" if FILES[name].startswith(("image/", "text/plain")) else "attachment"
        return FileResponse(
            run.folder / name,
            media_type=FILES[name],
            filename=f"{run.id}-{name}",
            content_disposition_type=shown,
        )

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    @property
    def _catalog(self) -> dict[str, Any]:
        return self._sources.catalog.functions

    def _busy(self) -> int:
        """Replicas of this machine that are at work; those of workers elsewhere disturb nothing."""
        if not self._sources.settings.embedded:
            return 0
        fleet = self._sources.fleet
        pools = [pool for spec in self._catalog.values() for pool in fleet.pools(spec).values()]
        return sum(pool.replicas.busy for pool in pools)

    def _where(self) -> View:
        """On what is measured, and what stands in the way of it."""
        settings, fleet = self._sources.settings, self._sources.fleet
        devices = {d for spec in self._catalog.values() for d in fleet.devices(spec)}
        return {
            "missing": missing(),
            "host": socket.gethostname(),
            "embedded": settings.embedded,
            "gpu": "gpu" in devices,
            "simulated": settings.simulate_gpu,
            "busy": self._busy(),
        }

    def _asked(self, chosen: Sequence[str], given: dict[str, str]) -> Asked:
        """What a form asks for; InvalidInput names the field."""
        for name in chosen:
            if name not in self._catalog:
                known = ", ".join(sorted(self._catalog)) or "none"
                raise InvalidInput("function", f"there is no function {name!r}; there are: {known}")
        device, effort, plan = given["device"], given["effort"], given["plan"]
        if device not in DEVICES:
            raise InvalidInput("device", f"{device!r} is none: send both, cpu or gpu")
        if effort not in ("quick", "full"):
            raise InvalidInput("effort", f"{effort!r} is none: send quick or full")
        names = tuple(dict.fromkeys(chosen))
        seed = _seed(given["seed"])
        text = plan.replace("\r\n", "\n")
        return Asked(names, DEVICES[device], effort == "quick", seed, text)

    def _following(self, run: Run) -> View:
        """A run that goes on, with its progress."""
        progress = self._progress.setdefault(run.id, Progress(run.folder / EVENTS))
        progress.read()
        return {"run": _run(run), "progress": progress.view()}

    async def _row(self, run: Run) -> View:
        """A run in the list of all, with what it came to."""
        if run.going_on or not (run.folder / RESULTS).is_file():
            return _run(run) | {"headline": None, "simulated": False}
        if run.id not in self._headlines:
            try:
                found = await asyncio.to_thread(report, run.folder)
            except LumbreError:
                found = {}  # its own page tells what is wrong with it
            told = {name: found.get(name) for name in ("headline", "simulated")}
            self._headlines[run.id] = told
        return _run(run) | (self._headlines[run.id] or {})

    async def _comparison(self, before: Run, after: Run) -> View:
        pair = (before.id, after.id)
        if pair not in self._compared:
            found = await asyncio.to_thread(comparison, before.folder, after.folder)
            self._compared[pair] = found
            while len(self._compared) > COMPARED:
                del self._compared[next(iter(self._compared))]
        return self._compared[pair]


@cache
def shipped_plan() -> str:
    """The plan that is measured where none is given."""
    return SHIPPED.read_text()


def _run(run: Run) -> View:
    return {
        "id": run.id,
        "state": run.state,
        "going_on": run.going_on,
        "functions": list(run.asked.functions),
        "device": run.asked.device,
        "quick": run.asked.quick,
        "seed": run.asked.seed,
        "plan": run.asked.plan,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "command": run.command,
        "files": run.files,
        "busiest": run.busiest,
        "disturbed": run.disturbed,
        "compares": not run.going_on and RESULTS in run.files,
        "url": f"/benchmarks/{run.id}",
    }


def _fault(error: LumbreError) -> dict[str, str]:
    """What the page says above its form: which field is wrong, if one is, and why."""
    if isinstance(error, InvalidInput):
        pointer, detail = error.errors[0]
        return {"field": pointer.lstrip("/"), "detail": detail}
    return {"field": "", "detail": str(error)}


def _seed(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) >= 2**31:
        raise InvalidInput("seed", f"{text!r} is none: send a whole number below 2,147,483,648")
    return int(text)


def _check_plan(text: str) -> None:
    """InvalidInput where a plan cannot be measured, before anything is started for it."""
    from tempfile import TemporaryDirectory

    from loadtest.suite.plan import read_plan

    with TemporaryDirectory(prefix="lumbre-plan-") as folder:
        file = Path(folder, "plan.yaml")
        file.write_text(text)
        try:
            read_plan(file)
        except LumbreError as error:
            told = str(error).removeprefix(f"{file}: ").replace(str(file), "it")
            raise InvalidInput("plan", told) from None
