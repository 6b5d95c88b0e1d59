"""A function at zero that is called, in a real node."""

import dataclasses
import shutil
from pathlib import Path

from loadtest.budgets.pace import QUICK
from loadtest.budgets.server import FUNCTIONS, node
from loadtest.budgets.starts import after_zero


def test_every_call_to_a_function_at_zero_is_a_cold_start(tmp_path: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    shutil.copy(FUNCTIONS / "product.py", functions)
    with node(tmp_path, functions=functions) as lumbre:
        row = after_zero(lumbre, dataclasses.replace(QUICK, wakes=2))
        decisions = lumbre.get("/decisions?function=product")["items"]
    assert row.faults == ()
    assert "n = 2)" in row.measured
    activations = [d for d in decisions if (d["before"], d["after"]) == (0, 1)]
    assert len(activations) == 3  # the two measured, and the first
