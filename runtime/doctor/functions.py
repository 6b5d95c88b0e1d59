"""A look at the functions: whether their files load, and how long they may run."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from runtime.baked import open_catalog
from runtime.catalog import PATIENCE, Broken, Catalog
from runtime.errors import ConfigurationError
from runtime.finding import Finding, ok, problem, warning
from runtime.function import FunctionSpec
from runtime.settings import Settings

FUNCTIONS, TIMEOUTS = "functions", "timeouts"
IMPORTS = PATIENCE + 10.0  # seconds; imports of torch take long
NAMED = 5  # functions in one line


async def examine_functions(settings: Settings) -> list[Finding]:
    """Import every file, in processes of their own; what is broken, and what may run too long.

    A baked catalog is read instead, and nothing is imported.
    """
    if settings.catalog:
        return await _baked(settings)
    folders = settings.folders
    found = [
        problem(FUNCTIONS, f"there is no folder {folder}", "make it, or say --functions FOLDER")
        for folder in folders
        if not folder.is_dir()
    ]
    with tempfile.TemporaryDirectory(prefix="lumbre-doctor-") as cache:
        catalog = Catalog([each for each in folders if each.is_dir()], Path(cache) / "catalog")
        try:
            await catalog.refresh()
            specs = [spec for _, spec in sorted(catalog.functions.items())]
            found += [*_loaded(specs, catalog.broken.values(), bool(found))]
            return [*found, *_ladder(specs, settings)]
        finally:
            catalog.close()


async def _baked(settings: Settings) -> list[Finding]:
    try:
        catalog = open_catalog(settings, None)
        await catalog.refresh()
    except ConfigurationError as error:
        return [problem(FUNCTIONS, f"{error}")]
    specs = [spec for _, spec in sorted(catalog.functions.items())]
    return [*_loaded(specs, (), False), *_ladder(specs, settings)]


def _loaded(
    specs: Sequence[FunctionSpec], broken: Iterable[Broken], missing: bool
) -> Iterator[Finding]:
    for each in broken:
        why = f"{each.file}: {each.error.type}: {each.error.message}".splitlines()[0]
        slow = each.error.type == "Importing"
        yield warning(FUNCTIONS, why) if slow else problem(FUNCTIONS, why, "correct the file")
    if specs:
        yield ok(FUNCTIONS, f"{len(specs)} can be served: {_named(specs)}")
    elif not missing:
        yield warning(FUNCTIONS, "there are none", "write one with `lumbre new hello`")


def _ladder(specs: Sequence[FunctionSpec], settings: Settings) -> Iterator[Finding]:
    """A function's timeout < grace < consumer_timeout: each has to outlast the one before."""
    if settings.embedded:
        return
    from runtime.brokers.rabbitmq import check_timeout

    whole = True
    for spec in specs:
        try:
            check_timeout(spec.name, spec.timeout, settings.consumer_timeout)
        except ConfigurationError as error:
            whole = False
            yield problem(TIMEOUTS, f"{error}")
    if settings.grace >= settings.consumer_timeout:
        whole = False
        text = f"LUMBRE_GRACE={settings.grace:g} is not under {settings.consumer_timeout:g} s"
        yield warning(TIMEOUTS, f"{text}, when RabbitMQ takes back what is not acknowledged")
    if longer := [spec for spec in specs if spec.timeout > settings.grace]:
        whole = False
        text = f"{_named(longer)} may run longer than a worker that is stopped waits"
        most = max(spec.timeout for spec in longer)
        advice = f"LUMBRE_GRACE={most:g} (now {settings.grace:g} s), or it runs again elsewhere"
        yield warning(TIMEOUTS, text, advice)
    if whole:
        rungs = f"grace {settings.grace:g} s < consumer_timeout {settings.consumer_timeout:g} s"
        yield ok(TIMEOUTS, f"functions ≤ {rungs}")


def _named(specs: Sequence[FunctionSpec]) -> str:
    names = ", ".join(spec.name for spec in specs[:NAMED])
    more = len(specs) - NAMED
    return f"{names} and {more} more" if more > 0 else names
