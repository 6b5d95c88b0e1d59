"""What the tests of benchmarks measure: two functions that need no torch, and small plans."""

from pathlib import Path
from typing import Any

import orjson

from console.run_process import EVENTS
from console.runs import ASKED, RESULTS, Asked, Run, Runs
from loadtest.suite.results import Results, dumps

SOURCES = {
    "double": '''
from runtime import Context, function

@function(devices=("cpu", "gpu"))
def double(context: Context, n: int = 1) -> dict[str, float]:
    """Twice a number."""
    return {"value": 2.0 * n}
''',
    "nap": '''
import time
from runtime import Context, function

@function(devices=("cpu",))
def nap(context: Context, n: int = 1) -> dict[str, float]:
    """Sleep so many seconds."""
    time.sleep(n)
    return {"value": 0.0}
''',
}
DOUBLE = """
ceilings: false
least: 7
most: 7
discard: 1
cold: 1
cases:
  - {case: double, function: double, axis: n, ladder: [1, 2],
     parity: [{field: value, tolerance: 1e-9}]}
"""
NAP = """
ceilings: false
least: 9
most: 9
cold: 0
discard: 1
limit: 1000
cases:
  - {case: nap, function: nap, axis: n, ladder: [1]}
"""


def folder_of_functions(folder: Path) -> Path:
    """A folder with `double` and `nap` in it."""
    functions = folder / "functions"
    functions.mkdir()
    for name, source in SOURCES.items():
        (functions / f"{name}.py").write_text(source)
    return functions


async def over(runs: Runs, asked: Asked) -> Run:
    """A run from its start to its end."""
    run = await runs.start(asked)
    return await ended(runs, run.id)


async def ended(runs: Runs, id: str) -> Run:
    """A run, when it has ended with all it started."""
    await runs.settled()
    run = runs.read(id)
    assert not run.going_on
    return run


def kept(folder: Path, id: str, results: Results, **told: Any) -> Path:
    """The folder of a run that ended with these results, as `Runs` would have left it."""
    place = folder / id
    place.mkdir(parents=True)
    (place / RESULTS).write_bytes(dumps(results))
    (place / "BENCHMARK_REPORT.md").write_text("# Benchmark\n")
    (place / EVENTS).write_text('{"event":"ended","interrupted":null}\n')
    asked = {"functions": [], "device": "both", "quick": True, "seed": 1, "plan": ""}
    facts = {
        "began_at": 1e9,
        "pid": 1,
        "born": None,
        "command": "lumbre bench",
        "busiest": 0,
        "disturbed": 0.0,
    }
    (place / ASKED).write_bytes(orjson.dumps({"asked": asked} | facts | told))
    return place
