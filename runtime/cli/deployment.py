"""What `lumbre deploy` deploys: functions, and values from overlays, files and flags."""

import asyncio
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from deploy.values import Values
    from runtime.function import FunctionSpec


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the flags of `render`, `apply` and `diff` said."""

    folders: Sequence[Path]
    catalog: Path | None
    overlay: str
    files: Sequence[Path]
    sets: Sequence[str]
    namespace: str | None
    trigger: str | None
    gpus: int | None
    worker_command: str | None

    def values(self) -> "Values":
        """The overlay's values, with those of the files and flags above them."""
        from deploy.values import read_values

        flags = {
            "namespace": self.namespace,
            "trigger": self.trigger,
            "gpus.count": self.gpus,
            "workers.command": words(self.worker_command),
        }
        given = [(name, value) for name, value in flags.items() if value is not None]
        overrides = nested([*map(assignment, self.sets), *given])
        return read_values(self.overlay, [str(file) for file in self.files], overrides)

    def specs(self) -> "list[FunctionSpec]":
        """The functions, described in processes of their own, or read from a catalog."""
        return read_specs(self.folders, self.catalog)


def assignment(text: str) -> tuple[str, Any]:
    """A value's name and the value, of `gateway.replicas=3`; the value is YAML."""
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not all(name.split(".")):
        raise ConfigurationError(
            f"--set {text!r} is no value: write NAME=VALUE, such as gateway.replicas=3"
        )
    try:
        return name, yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise ConfigurationError(f"--set {name}: {value!r} is no YAML: {why}") from None


def nested(assignments: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """`a.b` and a value as {"a": {"b": value}}, of all; a later one counts."""
    found: dict[str, Any] = {}
    for name, value in assignments:
        *above, last = name.split(".")
        inner = found
        for part in above:
            below = inner.setdefault(part, {})
            if not isinstance(below, dict):
                raise ConfigurationError(f"--set {name}: {part} is {below!r}, and has no fields")
            inner = below
        inner[last] = value
    return found


def words(command: str | None) -> list[str] | None:
    """A command line's words, as a shell would split them."""
    if command is None:
        return None
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"--worker-command {command!r}: {error}") from None


def read_specs(folders: Sequence[Path], catalog: Path | None) -> "list[FunctionSpec]":
    """The functions of folders (those of the settings, if none are given), or of a baked catalog.

    Raises ConfigurationError that names each file that cannot be used, with its error.
    """
    from runtime import baked
    from runtime.settings import read_settings

    if catalog is not None:
        if folders:
            raise ConfigurationError("--catalog and folders exclude each other: say one")
        return _baked_specs(catalog)
    given = [folder.expanduser().resolve() for folder in folders]
    with TemporaryDirectory(prefix="lumbre-deploy-") as scratch:
        file = Path(scratch, "catalog.json")
        file.write_bytes(asyncio.run(baked.bake(given or read_settings().folders)))
        return _baked_specs(file)


def _baked_specs(file: Path) -> "list[FunctionSpec]":
    from runtime.baked import BakedCatalog

    catalog = BakedCatalog(file, runs=None)
    try:
        asyncio.run(catalog.refresh())
        return list(catalog.functions.values())
    finally:
        catalog.close()
