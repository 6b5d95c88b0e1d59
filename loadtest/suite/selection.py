"""Which functions are measured, and as which cases."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.suite.case import Case, case_by_default, cases_of
from loadtest.suite.options import Options
from loadtest.suite.plan import Plan
from runtime.catalog import Catalog
from runtime.errors import ConfigurationError
from runtime.function import FunctionSpec


@dataclass(frozen=True, slots=True)
class Selection:
    """The cases, in the plan's order, and what is not among them."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...]


async def refresh(catalog: Catalog) -> None:
    """Describe every function file, however long its import takes (the fork server ends it)."""
    late = asyncio.Event()
    catalog.on_late = late.set
    await catalog.refresh()
    while any(broken.error.type == "Importing" for broken in catalog.broken.values()):
        await late.wait()
        late.clear()
        await catalog.refresh()


def check_folders(folders: tuple[Path, ...]) -> None:
    """ConfigurationError for a folder that is not there."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(f"there is no folder {folder}: give --functions FOLDER")


def select(options: Options, plan: Plan, catalog: Catalog) -> Selection:
    """The cases of the functions that were asked for; ConfigurationError for an unknown one."""
    specs = _asked(options, catalog)
    cases = cases_of(plan, options.plan, specs, quick=options.quick)
    notes = [
        f"{broken.file} cannot be used: {broken.error.type}: {broken.error.message}"
        for broken in catalog.broken.values()
        if not options.functions or broken.name in options.functions
    ]
    if not options.functions:
        notes += _missing(plan, catalog.functions)
    planned = {case.spec.name for case in cases}
    for spec in specs.values():
        if spec.name not in planned:
            if case := case_by_default(spec, plan.timeout):
                cases.append(case)
            else:
                needed = ", ".join(map(str, spec.input_schema["required"]))
                notes.append(
                    f"{spec.name} is not measured: it needs {needed}; add a case for it to a plan"
                )
    return Selection(tuple(cases), tuple(notes))


def _asked(options: Options, catalog: Catalog) -> dict[str, FunctionSpec]:
    if not options.functions:
        return dict(catalog.functions)
    for name in options.functions:
        if name not in catalog.functions and name not in catalog.broken:
            known = ", ".join(sorted(catalog.functions)) or "none"
            raise ConfigurationError(f"there is no function {name!r}; there are: {known}")
    return {n: spec for n, spec in catalog.functions.items() if n in options.functions}


def _missing(plan: Plan, specs: Mapping[str, FunctionSpec]) -> list[str]:
    missing = dict.fromkeys(case.function for case in plan.cases if case.function not in specs)
    if not missing:
        return []
    return [f"the plan has cases of functions that are not here: {', '.join(missing)}"]
