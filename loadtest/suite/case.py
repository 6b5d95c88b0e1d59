"""A case of the plan beside the function that it names: what is called at which size, and where."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.suite.plan import CaseModel, Plan, Rule, Values, Work
from runtime.errors import ConfigurationError
from runtime.formula import Formula, FormulaError, Number
from runtime.function import FunctionSpec
from runtime.model import DEVICES, Device


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the comparison."""

    name: str
    spec: FunctionSpec
    axis: str  # the parameter that is the size; empty where there is none
    sizes: tuple[float, ...]
    given: dict[Device, tuple[Values, ...]]  # beside the size; where there are several, to choose
    compare: Values | None  # of the CPU's call whose result is compared, where it is another
    seconds: str | None
    work: Work | None
    parity: tuple[Rule, ...]
    memory: Formula | None  # bytes
    timeout: float  # seconds
    cold: float | None  # the size of cold calls
    planned: bool  # by a case of the plan

    @property
    def devices(self) -> tuple[Device, ...]:
        return tuple(device for device in DEVICES if device in self.spec.devices)

    def parameters(self, given: Values, size: float) -> dict[str, Any]:
        """What the function is called with; FormulaError where one has no value at this size."""
        own: dict[str, Any] = {self.axis: _whole(size)} if self.axis else {}
        known = self.numbers({k: v for k, v in given.items() if not _is_formula(v)} | own)
        return {k: _computed(v, known) for k, v in given.items()} | own

    def numbers(self, parameters: Mapping[str, Any]) -> dict[str, Number]:
        """Every parameter that is a number, the function's defaults included."""
        properties = self.spec.input_schema.get("properties", {})
        defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
        return {k: v for k, v in (defaults | dict(parameters)).items() if _is_number(v)}

    def amount(self, parameters: Mapping[str, Any]) -> float | None:
        """FLOP or bytes of one piece of work."""
        if self.work is None:
            return None
        return float(Formula.parse(self.work.amount)(self.numbers(parameters)))

    def whole(self, parameters: Mapping[str, Any]) -> float | None:
        """FLOP or bytes of one call, which may do several pieces of work."""
        if self.work is None or (amount := self.amount(parameters)) is None:
            return None
        return amount * Formula.parse(self.work.times)(self.numbers(parameters))

    def ceiling(self, parameters: Mapping[str, Any]) -> str | None:
        """The name of the ceiling that its rate is held against."""
        if self.work is None or self.work.ceiling is None:
            return None
        text = self.work.ceiling
        for name, value in parameters.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def bytes(self, parameters: Mapping[str, Any]) -> float:
        """Memory that a call takes; 0 where nobody says."""
        return float(self.memory(self.numbers(parameters))) if self.memory else 0.0


def cases_of(
    plan: Plan, file: Path, specs: Mapping[str, FunctionSpec], *, quick: bool
) -> list[Case]:
    """The cases whose functions are there; ConfigurationError where one cannot be called so."""
    found = []
    for model in plan.cases:
        if spec := specs.get(model.function):
            case = _planned(model, spec, plan, quick=quick)
            _check(case, f"{file}: case {case.name!r}")
            found.append(case)
    return found


def case_by_default(spec: FunctionSpec, timeout: float | None) -> Case | None:
    """A function that no case names, with its defaults; None where it has not enough of them."""
    schema = spec.input_schema
    if schema.get("required"):
        return None
    return Case(
        name=spec.name,
        spec=spec,
        axis="",
        sizes=(0.0,),
        given={device: ({},) for device in spec.devices},
        compare=None,
        seconds=None,
        work=None,
        parity=(),
        memory=None,
        timeout=timeout or spec.timeout,
        cold=None,
        planned=False,
    )


def _planned(model: CaseModel, spec: FunctionSpec, plan: Plan, *, quick: bool) -> Case:
    shared = model.parameters
    ladder = model.quick if quick and model.quick else model.ladder
    return Case(
        name=model.case,
        spec=spec,
        axis=model.axis,
        sizes=tuple(sorted(set(ladder))),
        given={
            "cpu": tuple(shared | values for values in model.on_cpu),
            "gpu": (shared | model.gpu,),
        },
        compare=None if model.compare is None else shared | model.compare,
        seconds=model.seconds,
        work=model.work,
        parity=tuple(model.parity),
        memory=Formula.parse(model.memory) if model.memory else None,
        timeout=model.timeout or plan.timeout or spec.timeout,
        cold=model.cold,
        planned=True,
    )


def _check(case: Case, where: str) -> None:
    """Compute everything once, so that a mistake in the plan shows before hours of calls."""
    for device in DEVICES:
        for given in case.given[device] + ((case.compare,) if case.compare else ()):
            _check_names(case, {case.axis, *given}, where)
            for size in case.sizes:
                try:
                    parameters = case.parameters(given, size)
                    case.whole(parameters)
                    case.bytes(parameters)
                    for rule in case.parity:
                        text = rule.tolerance or rule.at_most or ""
                        Formula.parse(text)(case.numbers(parameters))
                except FormulaError as error:
                    raise ConfigurationError(f"{where}: {error}") from None


def _check_names(case: Case, names: Iterable[str], where: str) -> None:
    for name in names:
        if name not in case.spec.parameters:
            known = ", ".join(case.spec.parameters) or "none"
            raise ConfigurationError(
                f"{where}: {case.spec.name} has no parameter {name!r}; it has: {known}"
            )


def _computed(value: Any, known: Mapping[str, Number]) -> Any:
    return Formula.parse(value[1:])(known) if _is_formula(value) else value


def _is_formula(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("=")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(size: float) -> int | float:
    return int(size) if float(size).is_integer() else size
