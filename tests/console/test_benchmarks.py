"""The pages of benchmarks over HTTP: start, follow, stop, read, compare, fetch files."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from console import benchmarks as module
from console.app import Console
from console.benchmarks import Benchmarks
from console.runs import Asked, Runs
from console.sources import Sources
from runtime.errors import Unavailable
from runtime.model import PoolState, ReplicaCounts
from runtime.scopes import Needs
from tests.console.benching import DOUBLE, NAP, folder_of_functions, kept
from tests.loadtest.suite.runs import FOUR, made
from tests.support import ROOT

HTML = {"Accept": "text/html"}
PARTIAL = HTML | {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "div#live"}
OLD, NEW = "20261123-100000-000a", "20261123-110000-000b"
LONG = "a_function_whose_name_is_as_long_as_sixty_characters_may_be_"


class Census:
    async def tallied(self) -> Any:
        raise Unavailable("the ledger is away", 1)


class Place:
    """A console with nothing but benchmarks, over a folder."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.busy = 0
        functions = folder_of_functions(folder)
        values = {
            "state": folder,
            "folders": [functions],
            "simulate_gpu": True,
            "embedded": True,
            "read_only": False,
            "broker_url": "memory://",
            "ledger": "sqlite:///x",
        }
        names = ("double", "nap", LONG)
        specs = {n: SimpleNamespace(name=n, devices=("cpu", "gpu")) for n in names}
        fleet = SimpleNamespace(
            faults=list,
            simulated=True,
            devices=lambda spec: list(spec.devices),
            pools=lambda spec: {"cpu": PoolState(ReplicaCounts(busy=self.busy), 1)},
        )
        given = SimpleNamespace(
            settings=SimpleNamespace(**values | settings),
            fleet=fleet,
            invocations=SimpleNamespace(recorder=SimpleNamespace(healthy=True)),
            ledger=SimpleNamespace(census=Census()),
            catalog=SimpleNamespace(functions=specs),
            latest_audit=SimpleNamespace(look=lambda: None),
            access=SimpleNamespace(enabled=False, needs=Needs()),
        )
        self.folder = folder / "benchmarks"
        self.console = Console(cast(Sources, given), [Benchmarks(cast(Sources, given))])
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self), base_url="http://here", headers=HTML
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.console.takes(scope) or PlainTextResponse("of the API", 404)
        await app(scope, receive, send)

    async def json(self, path: str) -> Any:
        return (await self.client.get(f"{path}.json")).json()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    found = Place(tmp_path)
    yield found
    await found.client.aclose()
    await found.console.close()


@pytest.fixture
def two(place: Place) -> Place:
    """The same, with two runs that have ended."""
    kept(place.folder, OLD, made(gpu="simulated", cases=FOUR[:1]))
    kept(
        place.folder,
        NEW,
        made(gpu="simulated", cases=FOUR[:1], seed=2, slower=2.0),
        disturbed=2.5,
        busiest=3,
    )
    return place


async def test_before_the_first_run_the_page_says_so_and_offers_one(place: Place) -> None:
    page = (await place.client.get("/benchmarks")).text
    assert "No benchmark has run yet" in page
    assert "Benchmark CPU vs GPU" in page and "lumbre bench --quick" in page
    assert "The GPU here is simulated." in page
    assert LONG in page


async def test_a_run_is_started_followed_and_read(place: Place) -> None:
    answer = await place.client.post(
        "/benchmarks", data={"function": "double", "plan": DOUBLE, "seed": "5"}
    )
    assert answer.status_code == 303
    path = answer.headers["location"]
    page = (await place.client.get(path)).text
    assert "<progress" in page and "Stop" in page
    assert "data-over" not in page
    assert path in (await place.client.get("/benchmarks", headers=PARTIAL)).text
    while (await place.json(path))["run"]["going_on"]:
        await asyncio.sleep(0.1)
    view = await place.json(path)
    assert view["run"]["state"] == "ended" and view["report"]["seed"] == 5
    page = (await place.client.get(path, headers=PARTIAL)).text
    assert "data-over" in page, "nothing of it will change any more"
    assert "Speedup: GPU over CPU (simulated)" in page and "agree" in page
    for name in view["run"]["files"]:
        file = await place.client.get(f"{path}/files/{name}")
        assert file.status_code == 200 and file.content
        assert file.headers["x-content-type-options"] == "nosniff"
    listed = await place.json("/benchmarks")
    assert listed["runs"][0]["headline"]["case"] == "double"
    assert listed["current"] is None


async def test_while_one_runs_a_second_start_says_so_and_stop_ends_it(place: Place) -> None:
    place.busy = 2
    asked = {"function": "nap", "device": "cpu", "plan": NAP}
    path = (await place.client.post("/benchmarks", data=asked)).headers["location"]
    refused = await place.client.post("/benchmarks", data={"function": "double"})
    assert refused.status_code == 409
    assert "is running already" in refused.text
    assert 'value="double" checked' in refused.text, "the form keeps what was filled in"
    page = (await place.client.get(path)).text
    assert "6 replicas of this node are at work." in page
    assert (await place.client.post(f"{path}/stop")).status_code == 303
    while (await place.json(path))["run"]["going_on"]:
        await asyncio.sleep(0.1)
    assert (await place.json(path))["run"]["state"] == "stopped"
    assert (await place.client.post(f"{path}/stop")).status_code == 409


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"function": "nobody"}, "It was not started: function."),
        ({"device": "tpu"}, "send both, cpu or gpu"),
        ({"effort": "some"}, "send quick or full"),
        ({"seed": "many"}, "send a whole number"),
        ({"plan": "cases: 3"}, "It was not started: plan."),
        ({"plan": "a: ["}, "it is no YAML"),
    ],
)
async def test_a_form_that_cannot_be_used_is_shown_again_with_what_is_wrong(
    place: Place, form: dict[str, str], words: str
) -> None:
    answer = await place.client.post("/benchmarks", data={"effort": "full"} | form)
    assert answer.status_code == 422
    assert words in answer.text and '<details id="more" open>' in answer.text
    assert (await place.json("/benchmarks"))["runs"] == []


async def test_a_form_that_is_too_large_is_refused(place: Place) -> None:
    answer = await place.client.post("/benchmarks", data={"plan": "x" * module.LONGEST_FORM})
    assert answer.status_code == 413


async def test_runs_are_listed_newest_first_with_what_they_came_to(two: Place) -> None:
    view = await two.json("/benchmarks")
    assert [run["id"] for run in view["runs"]] == [NEW, OLD]
    earlier = (await two.client.get(f"/benchmarks.json?before={NEW}")).json()
    assert all(run["headline"]["median"] > 0 and run["simulated"] for run in view["runs"])
    assert [run["id"] for run in earlier["runs"]] == [OLD]


async def test_a_run_that_invocations_disturbed_says_so(two: Place) -> None:
    page = (await two.client.get(f"/benchmarks/{NEW}")).text
    assert "Invocations ran on this node meanwhile" in page
    assert "Copy as Markdown" in page


async def test_two_runs_are_compared_and_the_older_comes_first(two: Place) -> None:
    answer = await two.client.get(f"/benchmarks/compare?run={NEW}&run={OLD}")
    assert "slower" in answer.text and "0 faster" in answer.text
    given = await two.client.get(f"/benchmarks/compare?a={NEW}&b={OLD}")
    assert "0 slower" in given.text


@pytest.mark.parametrize("query", ["", f"?run={OLD}", f"?run={OLD}&run={OLD}"])
async def test_less_than_two_runs_are_not_compared(two: Place, query: str) -> None:
    assert (
        "Tick two in the list of runs."
        in (await two.client.get(f"/benchmarks/compare{query}")).text
    )


@pytest.mark.parametrize(
    "name", ["run.json", "events.ndjson", "view.json", "..%2frun.json", "none"]
)
async def test_only_its_own_files_are_sent(two: Place, name: str) -> None:
    assert (await two.client.get(f"/benchmarks/{OLD}/files/{name}")).status_code == 404


async def test_a_broken_run_shows_what_is_wrong_and_breaks_no_list(two: Place) -> None:
    (two.folder / OLD / "job_results.json").write_text("{")
    page = await two.client.get(f"/benchmarks/{OLD}")
    assert page.status_code == 200 and "is no JSON" in page.text
    assert (await two.client.get("/benchmarks")).status_code == 200


async def test_where_the_extra_is_missing_the_page_says_what_to_install(
    two: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "missing", lambda: "matplotlib")
    page = (await two.client.get("/benchmarks")).text
    assert "pip install &#39;lumbre[loadtest]&#39;" in page
    assert "Benchmark CPU vs GPU" not in page and NEW in page


async def test_a_read_only_console_shows_no_button(tmp_path: Path) -> None:
    place = Place(tmp_path, read_only=True)
    kept(place.folder, OLD, made(cases=FOUR[:1]))
    for path in ("/benchmarks", f"/benchmarks/{OLD}"):
        assert 'method="post" action="/benchmarks' not in (await place.client.get(path)).text
    refused = await place.client.post("/benchmarks", data={"function": "double"})
    assert refused.status_code == 403
    await place.client.aclose()
    await place.console.close()


async def test_with_workers_elsewhere_it_says_which_machine_is_measured(tmp_path: Path) -> None:
    place = Place(tmp_path, embedded=False, simulate_gpu=False)
    assert "This measures the gateway's machine" in (await place.client.get("/benchmarks")).text
    await place.client.aclose()
    await place.console.close()


async def test_closing_the_console_ends_what_runs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    await place.client.post("/benchmarks", data={"function": "nap", "device": "cpu", "plan": NAP})
    await place.client.aclose()
    await place.console.close()
    (run,) = Runs(place.folder, []).latest(2)
    assert not run.going_on
    assert run.asked == Asked(("nap",), "cpu", True, run.asked.seed, NAP.strip())


def test_a_gateway_loads_nothing_that_measures_until_somebody_does() -> None:
    heavy = ("loadtest.suite", "loadtest.servers", "matplotlib", "yaml", "hdrh", "torch")
    told = f"import sys, console.sections; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
