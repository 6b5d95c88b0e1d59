"""A console that comes behind the start of its gateway."""

import subprocess
import sys
from pathlib import Path

import pytest

from console.late import LateConsole
from console.sources import Sources
from tests.console.test_app import sources
from tests.support import ROOT

PAGE = {"type": "http", "method": "GET", "path": "/signin", "headers": [(b"accept", b"text/html")]}
PROGRAM = {**PAGE, "path": "/readyz", "headers": [(b"accept", b"*/*")]}
STYLE = {**PROGRAM, "path": "/static/lumbre.css"}


async def test_a_program_is_not_kept_waiting_by_pages_it_does_not_ask_for() -> None:
    code = (
        "import sys; from console.late import LateConsole;"
        f"assert LateConsole(None).takes({PROGRAM!r}) is None;"
        "sys.exit('jinja2' in sys.modules or 'console.app' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.fixture
def given(tmp_path: Path) -> Sources:
    return sources(state=tmp_path, folders=[], simulate_gpu=False)


@pytest.mark.parametrize("scope", [PAGE, STYLE])
async def test_who_asks_for_a_page_before_it_is_there_gets_it(
    given: Sources, scope: dict[str, object]
) -> None:
    console = LateConsole(given)
    assert console.takes(scope) is not None
    await console.close()


async def test_it_comes_by_itself(given: Sources) -> None:
    console = LateConsole(given)
    console.start()
    assert console._coming is not None
    await console._coming
    assert given.access.needs.of("POST", "/functions/f/run").counts
    await console.close()
