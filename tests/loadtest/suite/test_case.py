"""What a case makes of the plan: parameters, work and ceilings at each size."""

from pathlib import Path

import pytest

from loadtest.suite.case import Case, case_by_default, cases_of
from loadtest.suite.plan import BENCH, Plan, read_plan
from runtime.catalog import Catalog
from runtime.errors import ConfigurationError
from runtime.function import FunctionSpec, describe, function


@function(devices=("cpu", "gpu"), timeout=7)
def product(n: int = 64, dtype: str = "float32", repeat: int = 2, flag: bool = True) -> int:
    return n


@function
def needy(n: int) -> int:
    return n


SPEC = describe(product, file=__file__, attribute="product")


def only(**more: object) -> Case:
    given = {"case": "p", "function": "product", "axis": "n", "ladder": [64, 1024]} | more
    (case,) = cases_of(
        Plan.model_validate({"cases": [given]}), Path("p.yaml"), {"product": SPEC}, quick=False
    )
    return case


def test_parameters_are_those_of_the_device_and_the_size() -> None:
    case = only(parameters={"repeat": "=max(1, 2 ** 20 // n ** 2)"}, gpu={"dtype": "tf32"})
    assert case.parameters(case.given["cpu"][0], 64) == {"repeat": 256, "n": 64}
    assert case.parameters(case.given["gpu"][0], 1024) == {"repeat": 1, "dtype": "tf32", "n": 1024}


def test_a_formula_may_name_the_functions_defaults() -> None:
    case = only(work={"amount": "2 * n ** 3", "times": "repeat", "unit": "FLOP"})
    assert case.amount({"n": 64}) == 2 * 64**3
    assert case.whole({"n": 64}) == 4 * 64**3
    assert case.numbers({"n": 64}) == {"n": 64, "repeat": 2}


def test_a_ceiling_is_named_by_the_cells_own_parameters() -> None:
    case = only(work={"amount": "n", "unit": "FLOP", "ceiling": "matmul {dtype}"})
    assert case.ceiling({"n": 64, "dtype": "tf32"}) == "matmul tf32"
    assert only().ceiling({"n": 64}) is None


def test_the_limit_of_a_call_is_the_cases_or_the_plans_or_the_functions() -> None:
    assert only().timeout == 7
    assert only(timeout=3).timeout == 3


def test_quick_has_its_own_ladder() -> None:
    given = {"case": "p", "function": "product", "axis": "n", "ladder": [4, 2], "quick": [8]}
    plan = Plan.model_validate({"cases": [given]})
    (case,) = cases_of(plan, Path("p.yaml"), {"product": SPEC}, quick=True)
    assert case.sizes == (8,)
    (case,) = cases_of(plan, Path("p.yaml"), {"product": SPEC}, quick=False)
    assert case.sizes == (2, 4)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"axis": "size"}, "product has no parameter 'size'; it has: n, dtype, repeat, flag"),
        ({"gpu": {"typ": 1}}, "product has no parameter 'typ'"),
        ({"cpu": [{}, {"typ": 1}]}, "product has no parameter 'typ'"),
        ({"parameters": {"repeat": "=m"}}, "'m' names 'm', and the numbers here are: n, repeat"),
        ({"parameters": {"repeat": "=1 / (n - 64)"}}, "no value for n = 64"),
        ({"parity": [{"field": "a", "tolerance": "x"}]}, "'x' names 'x'"),
    ],
)
def test_a_case_that_cannot_be_called_is_refused(more: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        only(**more)
    assert "p.yaml: case 'p': " in str(caught.value)
    assert why in str(caught.value)


def test_a_function_without_a_case_needs_defaults() -> None:
    case = case_by_default(SPEC, None)
    assert case is not None
    assert (case.sizes, case.parameters(case.given["gpu"][0], 0)) == ((0,), {})
    assert case_by_default(describe(needy, file="", attribute="needy"), None) is None


async def test_the_shipped_plan_fits_the_shipped_functions(tmp_path: Path) -> None:
    catalog = Catalog([Path("functions").resolve()], tmp_path / "catalog.json")
    try:
        await catalog.refresh()
    finally:
        catalog.close()
    specs: dict[str, FunctionSpec] = catalog.functions
    for quick in (False, True):
        cases = cases_of(read_plan(BENCH), BENCH, specs, quick=quick)
        assert {case.spec.name for case in cases} == set(specs)
