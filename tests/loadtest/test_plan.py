"""Plans as people write them; and that the ones we ship ask for nothing that is not there."""

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.arrivals import arrivals
from loadtest.mix import Mix
from loadtest.plan import Closed, Constant, Plan, Replay, read_plan, simple
from loadtest.share import Choice, DeviceChoice, LogUniform, Share, Uniform
from runtime.errors import ConfigurationError
from runtime.function import describe
from runtime.intake import Validator
from tests.support import ROOT

PLANS = ROOT / "loadtest" / "plans"
SHIPPED = [PLANS / f"{name}.yaml" for name in ("burst", "mixed", "smoke", "soak")]
FUNCTIONS = ROOT / "functions"

SMALL = """
stages: [{kind: constant, rate: 5, seconds: 2}]
mix: [{function: f}]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


# ── reading ───────────────────────────────────────────────────────────────────────────────────


def test_what_a_plan_does_not_say_has_a_default(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, SMALL))
    assert plan == Plan(
        name="small",
        seed=1,
        stages=(Constant(rate=5, seconds=2),),
        mix=(Share(function="f"),),
        connections=512,
        timeout=60,
        retries=3,
        slo=None,
    )


def test_a_plan_has_the_name_that_it_says(tmp_path: Path) -> None:
    assert read_plan(write(tmp_path, f"{SMALL}name: mine\n")).name == "mine"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stages: []\nmix: [{function: f}]\n", ":1: stages: write at least 1"),
        ("mix: [{function: f}]\n", ": stages: is missing: write stages: ["),
        (f"{SMALL}stage: 1\n", ":4: stage: is no field here: did you mean stages?"),
        (f"{SMALL}timeout: 0\n", ":4: timeout: write more than 0, not 0"),
        (f"{SMALL}timeout: 7200\n", ":4: timeout: write at most 3,600, not 7200"),
        (f"{SMALL}retries: -1\n", ":4: retries: write at least 0, not -1"),
        (f"{SMALL}connections: 1000000\n", ":4: connections: write at most 10,000, not 1000000"),
        (f"{SMALL}seed: one\n", ":4: seed: write a whole number, not 'one'"),
        (f"{SMALL}slo: p99=3\n", ":4: slo: SLO: p99=3 has no unit of time: write us, ms, s or m"),
        (
            "stages: [{kind: constant, rate: 5, seconds: 2}]\n",
            ":1: has no mix, and not every stage is a replay: write mix: [{function: NAME}]",
        ),
        (
            "stages:\n- {kind: replay, trace: t}\n- kind: ramp\n  from: 1\n  to: much\n"
            "  seconds: 3\nmix: [{function: f}]\n",
            ":5: stages[1].to: write a number, not 'much'",
        ),
        (f"{SMALL}mix: []\n", ":4: mix stands twice"),
        ("stages: [{kind: constant\n", ":2:1: is no YAML ("),
    ],
)
def test_what_is_no_plan_is_told_by_file_line_and_field(
    tmp_path: Path, text: str, told: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        read_plan(path)
    line = ":1" if told.startswith(": stages: is missing") else ""
    assert str(caught.value).startswith(f"{path}{line}{told}")


def test_a_replay_needs_no_mix(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, "stages: [{kind: replay, trace: t.ndjson}]\n"))
    assert (plan.stages, plan.length) == ((Replay(trace="t.ndjson"),), None)


def test_a_plan_can_be_written_again(tmp_path: Path) -> None:
    plan = read_plan(PLANS / "mixed.yaml")
    again = write(tmp_path, yaml.safe_dump(plan.filled()))
    assert read_plan(again) == plan


def test_random_numbers_of_a_purpose_depend_on_the_seed_and_on_nothing_else() -> None:
    one, other = (simple("f", rate=1, seed=seed) for seed in (1, 2))
    assert one.rng("mix").random() == one.rng("mix").random()
    assert one.rng("mix").random() != one.rng("stage 0").random()
    assert one.rng("mix").random() != other.rng("mix").random()


# ── without a file ────────────────────────────────────────────────────────────────────────────


def test_a_rate_makes_an_open_loop_and_connections_a_closed_one() -> None:
    opened = simple("f", device="gpu", parameters={"n": 3}, rate=20, connections=8, seconds=5)
    assert opened.stages == (Constant(rate=20, seconds=5),)
    assert opened.connections == 8
    assert opened.mix == (Share(function="f", device="gpu", parameters={"n": 3}),)
    closed = simple("f", connections=8, seconds=5)
    assert closed.stages == (Closed(connections=8, seconds=5),)
    assert simple("f").stages == (Closed(connections=10, seconds=10),)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rate": 0}, "stages[0].rate: write more than 0, not 0"),
        ({"connections": 0}, "stages[0].connections: write at least 1, not 0"),
        ({"device": "tpu"}, "mix[0].device: write 'auto', 'cpu' or 'gpu', not 'tpu'"),
        ({"parameters": {"n": {"uniform": [3, 1]}}}, "mix[0].parameters.n: goes from 3 down to 1"),
    ],
)
def test_what_the_command_line_names_is_checked_as_a_plan(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        simple("f", **wrong)
    assert str(caught.value).startswith(f"load test: {told}")


# ── the plans that are shipped ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def validators() -> Iterator[dict[str, Validator]]:
    """What checks the parameters of each shipped function, as a gateway does."""
    found, before = {}, set(sys.modules)
    sys.path.insert(0, str(FUNCTIONS))
    for file in FUNCTIONS.glob("[a-z]*.py"):
        loaded = importlib.util.spec_from_file_location(file.stem, file)
        assert loaded and loaded.loader
        module = importlib.util.module_from_spec(loaded)
        sys.modules[file.stem] = module
        loaded.loader.exec_module(module)
        target = getattr(module, file.stem)
        found[file.stem] = Validator.of(describe(target, file=str(file), attribute=file.stem))
    yield found
    sys.path.remove(str(FUNCTIONS))
    for name in set(sys.modules) - before:
        if (FUNCTIONS / f"{name}.py").exists():
            del sys.modules[name]


def extremes(parameter: Any) -> list[Any]:
    """Every value of a parameter, or where it is a range its ends."""
    match parameter:
        case Choice(choice=values):
            return list(values)
        case Uniform(uniform=ends) | LogUniform(log_uniform=ends):
            return list(ends)
    return [parameter]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_plan_sends_only_what_its_functions_take(
    path: Path, validators: dict[str, Validator]
) -> None:
    for share in read_plan(path).mix:
        validator = validators[share.function]
        asked = share.device.choice if isinstance(share.device, DeviceChoice) else [share.device]
        assert set(asked) <= {None, "auto", *validator.spec.devices}
        values = [extremes(parameter) for parameter in share.parameters.values()]
        for drawn in itertools.product(*values):
            validator.check(dict(zip(share.parameters, drawn, strict=True)))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_plan_never_asks_for_more_than_a_laptop_can_do(path: Path) -> None:
    """At most 40 requests a second over any ten seconds, and no device that may not be there."""
    plan = read_plan(path)
    assert all(share.device != "gpu" for share in plan.mix)
    for number, stage in enumerate(plan.stages):
        if isinstance(stage, Closed):
            assert stage.connections <= 4
            continue
        mix = Mix(plan.mix, plan.rng("mix"), path.parent)
        at = [due.at for due in arrivals(stage, mix, plan.rng(f"stage {number}"), path.parent)]
        latest = [later - earlier for earlier, later in zip(at, at[400:], strict=False)]
        assert at and min(latest, default=10) >= 10


def test_the_shipped_plans_last_as_long_as_they_say() -> None:
    lengths = {path.stem: read_plan(path).length for path in SHIPPED}
    assert lengths == {"burst": 65, "mixed": 60, "smoke": 5, "soak": 3600}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_plan_says_what_it_shows_and_how_to_run_it(path: Path) -> None:
    head = path.read_text().partition("\nname:")[0]
    assert f"lumbre loadtest --plan loadtest/plans/{path.name}" in head
    assert "Shows:" in head
