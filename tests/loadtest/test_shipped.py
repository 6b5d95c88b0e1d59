"""The functions that come with Lumbre are found, in a checkout and in a wheel."""

from pathlib import Path

import pytest

from loadtest.shipped import shipped
from runtime.errors import ConfigurationError


def test_they_are_found_beside_the_checkout() -> None:
    assert (shipped() / "matmul.py").is_file()


def test_they_are_found_inside_what_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "shipped_functions"
    inside.mkdir()
    (inside / "matmul.py").touch()
    monkeypatch.setattr("loadtest.shipped.PLACES", (tmp_path / "functions", inside))
    assert shipped() == inside


def test_where_they_are_not_it_is_said_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.shipped.PLACES", (tmp_path / "functions",))
    with pytest.raises(ConfigurationError, match="--functions"):
        shipped()
