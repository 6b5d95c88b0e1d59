"""One file of functions: imported by path, described, and watched for what it depends on.

Only zygotes use this: it runs user code.
"""

import dataclasses
import hashlib
import importlib.util
import os
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.errors import ConfigurationError
from runtime.function import MARK, describe


class SourceFile:
    """A function file, by its path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.module: ModuleType | None = None

    def load(self) -> dict[str, Any]:
        """Import the file; gives `{functions: [spec], files: {path: digest}, error}`."""
        answer: dict[str, Any] = {"functions": [], "files": {}, "error": None}
        try:
            self.module = self._import()
            self._check_forkable()
            answer["functions"] = self._describe()
        except ConfigurationError as error:
            answer["error"] = {"type": "ConfigurationError", "message": str(error)}
        except (Exception, SystemExit) as error:
            answer["error"] = {
                "type": type(error).__name__,
                "message": str(error) or type(error).__name__,
                "traceback": self._traceback(error),
            }
        answer["files"] = digests(self._dependencies())
        return answer

    def target(self, attribute: str) -> Any:
        """The decorated object of that name."""
        return getattr(self.module, attribute)

    def _import(self) -> ModuleType:
        # Bytecode is told apart by the second and the size of its source: too coarse for an editor
        # and --reload, and nobody wants it in a folder of functions.
        sys.dont_write_bytecode = True
        sys.path.insert(0, os.path.dirname(self.path))
        name = f"lumbre_function_{Path(self.path).stem}"
        spec = importlib.util.spec_from_file_location(name, self.path)
        if spec is None or spec.loader is None:
            raise ConfigurationError(f"{self.path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # typing.get_type_hints and pydantic look it up there
        spec.loader.exec_module(module)
        return module

    def _check_forkable(self) -> None:
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            raise ConfigurationError(
                "the file uses CUDA while it is imported, which does not survive the fork of a"
                " replica: move that into setup() or into the function"
            )
        others = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
        if others:
            raise ConfigurationError(
                f"the file starts a thread ({others[0]}) while it is imported, which does not"
                " survive the fork of a replica: start it in setup()"
            )

    def _describe(self) -> list[dict[str, Any]]:
        found = []
        for attribute, value in vars(self.module).items():
            if MARK in getattr(value, "__dict__", {}) and value.__module__ == self._name():
                spec = describe(value, file=self.path, attribute=attribute)
                found.append(dataclasses.asdict(spec))
        return found

    def _name(self) -> str:
        return self.module.__name__ if self.module else ""

    def _dependencies(self) -> list[str]:
        """This file, and the modules it imported from its own folder."""
        folder = os.path.dirname(self.path) + os.sep
        files = {self.path}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.startswith(folder) and "site-packages" not in file:
                files.add(file)
        return sorted(files)

    def _traceback(self, error: BaseException) -> str:
        """The traceback without the frames of the import machinery."""
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename != self.path:
            frames = frames.tb_next
        return "".join(traceback.format_exception(type(error), error, frames))


def digests(files: list[str]) -> dict[str, str]:
    """SHA-256 of each file; of one that cannot be read, the empty string."""
    return {file: digest(file) for file in files}


def digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""
