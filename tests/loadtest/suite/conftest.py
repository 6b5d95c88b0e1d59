"""What tests of the suite share: a run of a plan over the functions beside them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.suite.options import Options
from loadtest.suite.results import Results
from loadtest.suite.session import run

FUNCTIONS = Path(__file__).parent / "bench_functions"
FEW = {"least": 3, "most": 3, "discard": 1, "cold": 1, "limit": 5, "ceilings": False}

Event = dict[str, Any]
Run = Callable[..., Awaitable[Results]]


class Told(list[Event]):
    """The events of a run."""

    def of(self, kind: str) -> list[Event]:
        return [event for event in self if event["event"] == kind]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def measure(tmp_path: Path, told: Told) -> Run:
    """Run a plan of these cases: `measure([{…}], simulate_gpu=True, stop=…, most=9)`."""

    async def go(cases: list[dict[str, Any]], **given: Any) -> Results:
        file = tmp_path / "plan.yaml"
        stop, tell = given.pop("stop", None), given.pop("tell", told.append)
        plan = {name: given.pop(name) for name in list(given) if name not in Options.__slots__}
        file.write_text(yaml.safe_dump(FEW | plan | {"cases": cases}))
        named = tuple(dict.fromkeys(str(case["function"]) for case in cases))
        asked: dict[str, Any] = {"functions": named, "seed": 1} | given
        return await run(Options(folders=(FUNCTIONS,), plan=file, **asked), tell, stop)

    return go
