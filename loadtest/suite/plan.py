"""What the suite is told to measure: a YAML file of cases, each with a ladder of sizes."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from runtime.errors import ConfigurationError
from runtime.formula import Formula, FormulaError

BENCH = Path(__file__).parent.parent / "plans" / "bench.yaml"


def _as_text(value: Any) -> Any:
    """A plain number is a formula, too."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value!r}" if plain else value


def _as_formula(text: str) -> str:
    try:
        Formula.parse(text)
    except FormulaError as error:
        raise ValueError(str(error)) from None
    return text


Arithmetic = Annotated[str, BeforeValidator(_as_text), AfterValidator(_as_formula)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Values = dict[str, Any]  # of parameters; text that begins with = is a formula


class Strict(BaseModel):
    """What a plan says: nothing beside the named fields, and read once."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Effort(Strict):
    """How often calls are repeated, and when that was enough."""

    precision: float = Field(0.05, gt=0, lt=1, description="half the interval, of the median")
    confidence: float = Field(0.95, ge=0.5, lt=1, description="of that interval")
    least: int = Field(7, ge=1, le=1000, description="samples of a cell")
    most: int = Field(40, ge=1, le=10_000, description="samples of a cell")
    # Three times that while a cell has fewer than the least samples.
    limit: Seconds = Field(20.0, description="seconds of warm calls a cell may take")
    longest: Seconds = Field(30.0, description="seconds; a call expected to take more is left out")
    discard: int = Field(2, ge=1, le=100, description="warm-up calls of a cell")
    cold: int = Field(5, ge=0, le=1000, description="cold starts of a function on a device")

    @model_validator(mode="after")
    def _in_order(self) -> "Effort":
        if self.most < self.least:
            raise ValueError(f"most is {self.most} and least {self.least}: give most ≥ least")
        return self


class Overrides(Strict):
    """What `--quick` changes; the fields mean what they mean in the plan."""

    precision: float | None = None
    confidence: float | None = None
    least: int | None = None
    most: int | None = None
    limit: float | None = None
    longest: float | None = None
    discard: int | None = None
    cold: int | None = None


class Work(Strict):
    """What one piece of work is, so that seconds become a rate."""

    amount: Arithmetic
    times: Arithmetic = Field("1", description="pieces of work in one call")
    unit: Literal["FLOP", "B"]
    # What the rate is held against; {dtype} stands for the cell's own parameter.
    ceiling: str | None = None


class Rule(Strict):
    """One field of the results, and how far CPU and GPU may be apart in it.

    `field` may reach inside: `losses.0`.  Either `tolerance`, for |cpu − gpu|, or `at_most`, for
    each of both.
    """

    field: str
    tolerance: Arithmetic | None = None
    at_most: Arithmetic | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Rule":
        if (self.tolerance is None) == (self.at_most is None):
            raise ValueError("give one of tolerance and at_most")
        return self


class CaseModel(Strict):
    """One line of the comparison, over a ladder of sizes."""

    case: str = Field(min_length=1, max_length=80)
    function: str
    axis: str = Field(description="the parameter that is the size")
    ladder: list[Size] = Field(min_length=1, max_length=100)
    quick: list[Size] | None = Field(None, min_length=1, description="the ladder with --quick")
    parameters: Values = {}
    cpu: Values | list[Values] = Field({}, description="on the CPU; of several, the fastest")
    gpu: Values = Field({}, description="on the GPU")
    compare: Values | None = Field(
        None, description="of the CPU's call whose result is compared, where it is not the timed"
    )
    seconds: str | None = Field(None, description="the result's field with the seconds of the work")
    work: Work | None = None
    parity: list[Rule] = []
    memory: Arithmetic | None = Field(None, description="bytes that a call takes")
    timeout: Seconds | None = Field(None, description="seconds a call may take")
    cold: Size | None = Field(None, description="the size of cold calls")

    @property
    def on_cpu(self) -> list[Values]:
        """What the CPU may be called with, one at least."""
        return (self.cpu or [{}]) if isinstance(self.cpu, list) else [self.cpu]


class Plan(Effort):
    """All cases, and the effort that each of them is worth."""

    quick: Overrides = Overrides()
    timeout: Seconds | None = Field(None, description="seconds a call may take; the function's")
    ceilings: bool = Field(True, description="whether the devices' ceilings are measured")
    cases: list[CaseModel] = Field(max_length=1000)

    @model_validator(mode="after")
    def _names_once(self) -> "Plan":
        names = [case.case for case in self.cases]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two cases are named {name!r}: rename one")
        return self

    @model_validator(mode="after")
    def _quick_too(self) -> "Plan":
        self.effort(quick=True)
        return self

    def effort(self, *, quick: bool) -> Effort:
        """How much is repeated, with or without `--quick`."""
        own = {name: getattr(self, name) for name in Effort.model_fields}
        return Effort(**own | (self.quick.model_dump(exclude_none=True) if quick else {}))


def read_plan(file: Path) -> Plan:
    """The plan in a YAML file; ConfigurationError names the file, the field and what it takes."""
    try:
        raw = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read ({error}): give a plan") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return Plan.model_validate(raw)
    except ValidationError as error:
        faults = [f"{_where(raw, e['loc'])}: {_said(e)}" for e in error.errors()]
        raise ConfigurationError(f"{file}: {'; '.join(faults)}") from None


def _where(raw: Any, path: tuple[int | str, ...]) -> str:
    """A place in the plan, with the case's name rather than its number."""
    if len(path) > 1 and path[0] == "cases" and isinstance(path[1], int):
        case = raw["cases"][path[1]]
        name = case.get("case") if isinstance(case, dict) else None
        path = (f"case {name!r}" if name else f"cases/{path[1]}", *path[2:])
    return "/".join(map(str, path)) or "the plan"


def _said(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return "there is no such field" if error["type"] == "extra_forbidden" else message
