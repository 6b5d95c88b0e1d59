"""What is rendered is what was last read and meant: tests/deploy/golden."""

import pytest

from deploy.values import OVERLAYS
from tests.deploy.golden.__main__ import FOLDER, golden


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_rendered_as_it_was_last_read(overlay: str) -> None:
    known = (FOLDER / f"{overlay}.yaml").read_text(encoding="utf-8").splitlines()
    # Meant? .venv/bin/python -m tests.deploy.golden, then read `git diff tests/deploy/golden`.
    assert golden(overlay).splitlines() == known
