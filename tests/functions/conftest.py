"""Load the shipped functions as Lumbre does: by path, with their folder on the import path."""

import dataclasses
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from runtime import Context
from runtime.function import FunctionSpec, describe
from runtime.model import Device

FOLDER = Path(__file__).parents[2] / "functions"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """One torch thread: the same order of additions in every run, and a quiet machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def load() -> Iterator[Callable[[str], ModuleType]]:
    """Load a file of functions/ by its name, once a session."""
    loaded: dict[str, ModuleType] = {}

    def load(name: str) -> ModuleType:
        if name not in loaded:
            spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
            assert spec and spec.loader
            loaded[name] = module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        return loaded[name]

    sys.path.insert(0, str(FOLDER))
    yield load
    sys.path.remove(str(FOLDER))
    for name in loaded:
        del sys.modules[name]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """One attempt on the CPU, with a blob store."""
    return Context.for_test("cpu", folder=tmp_path)


GPU = pytest.param(
    "gpu",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ],
)


@pytest.fixture(params=["cpu", GPU])
def device(request: pytest.FixtureRequest) -> Device:
    """Every device a function declares; the GPU where there is one."""
    found: Device = request.param
    return found


@pytest.fixture
def either(device: Device, tmp_path: Path) -> Context:
    """One attempt on the CPU and, where there is one, on the GPU."""
    return Context.for_test(device, folder=tmp_path)


@pytest.fixture(params=[GPU])
def gpu(request: pytest.FixtureRequest, tmp_path: Path) -> Context:
    """One attempt on the GPU alone, to be held against one on the CPU."""
    return Context.for_test(request.param, folder=tmp_path)


@pytest.fixture
def described(load: Callable[[str], ModuleType]) -> Callable[[str], FunctionSpec]:
    """The spec of a shipped function, after a trip through JSON as the catalog sends it."""

    def described(name: str) -> FunctionSpec:
        file = FOLDER / f"{name}.py"
        spec = describe(getattr(load(name), name), file=str(file), attribute=name)
        json.dumps(dataclasses.asdict(spec))
        return spec

    return described


@pytest.fixture(scope="session")
def npy() -> Callable[[Any], bytes]:
    """The bytes numpy.save writes for an array."""

    def npy(array: Any) -> bytes:
        file = io.BytesIO()
        np.save(file, np.asarray(array))
        return file.getvalue()

    return npy
