"""Plans: the shipped one is whole, and a mistake is named with its file, case and field."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.suite.plan import BENCH, read_plan
from runtime.errors import ConfigurationError

CASE = {"case": "nap", "function": "nap", "axis": "n", "ladder": [1, 2]}


def wrong(folder: Path, plan: Any) -> str:
    file = folder / "plan.yaml"
    file.write_text(plan if isinstance(plan, str) else yaml.safe_dump(plan))
    with pytest.raises(ConfigurationError) as caught:
        read_plan(file)
    assert str(caught.value).startswith(str(file))
    return str(caught.value).removeprefix(f"{file}")


def test_the_shipped_plan_has_a_case_for_every_shipped_function() -> None:
    plan = read_plan(BENCH)
    shipped = {file.stem for file in Path("functions").glob("[!_]*.py")}
    assert {case.function for case in plan.cases} == shipped
    assert all(case.parity and case.work and case.quick for case in plan.cases)


def test_quick_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump({"quick": {"limit": 3, "cold": 1}, "most": 9, "cases": []}))
    plan = read_plan(file)
    assert (plan.effort(quick=False).limit, plan.effort(quick=False).most) == (20, 9)
    assert (plan.effort(quick=True).limit, plan.effort(quick=True).most) == (3, 9)
    assert plan.effort(quick=True).cold == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"laddder": [1]}, "case 'nap'/laddder: there is no such field"),
        ({"ladder": []}, "case 'nap'/ladder: List should have at least 1 item"),
        ({"ladder": [1, "x"]}, "case 'nap'/ladder/1: Input should be a valid number"),
        ({"memory": "12 * open(n)"}, "case 'nap'/memory: '12 * open(n)' has 'open(n)' in it"),
        ({"work": {"amount": "n", "unit": "flops"}}, "case 'nap'/work/unit: Input should be"),
        (
            {"parity": [{"field": "a"}]},
            "case 'nap'/parity/0: give one of tolerance and at_most",
        ),
        (
            {"parity": [{"field": "a", "tolerance": 1, "at_most": 2}]},
            "case 'nap'/parity/0: give one of tolerance and at_most",
        ),
        ({"timeout": 0}, "case 'nap'/timeout: Input should be greater than 0"),
    ],
)
def test_a_mistake_in_a_case_is_named(tmp_path: Path, change: Any, why: str) -> None:
    assert why in wrong(tmp_path, {"cases": [CASE | change]})


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"cases": [CASE, CASE]}, "two cases are named 'nap': rename one"),
        ({"cases": [], "most": 3}, "most is 3 and least 7: give most ≥ least"),
        ({"cases": [], "quick": {"most": 3}}, "most is 3 and least 7"),
        ({"cases": [], "precision": 0}, "precision: Input should be greater than 0"),
        ({"cases": ["nap"]}, "cases/0: Input should be"),
        ("cases: [", "is no YAML"),
        ("", "the plan: Input should be"),
    ],
)
def test_a_mistake_in_the_plan_is_named(tmp_path: Path, plan: Any, why: str) -> None:
    assert why in wrong(tmp_path, plan)


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml cannot be read"):
        read_plan(tmp_path / "none.yaml")


def test_numbers_may_stand_for_formulas(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    parity = [{"field": "a", "at_most": 1e-5}]
    file.write_text(yaml.safe_dump({"cases": [CASE | {"parity": parity, "memory": 100}]}))
    (case,) = read_plan(file).cases
    assert (case.parity[0].at_most, case.memory) == ("1e-05", "100")
