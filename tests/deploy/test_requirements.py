"""What the images install is what pyproject.toml says."""

import subprocess
import sys
import tomllib

from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def told(*arguments: str) -> list[str]:
    """What the script says, run as the images run it: without Lumbre or anything else."""
    script = str(ROOT / "deploy" / "requirements.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


def test_every_role_gets_the_requirements_of_lumbre_and_of_an_extra() -> None:
    assert told("push") == PROJECT["dependencies"] + PROJECT["optional-dependencies"]["push"]


def test_functions_get_theirs_but_for_torch_which_has_an_index_of_its_own() -> None:
    functions = PROJECT["optional-dependencies"]["functions"]
    assert told("--only", "functions") == [e for e in functions if not e.startswith("torch")]
    assert any(each.startswith("torch") for each in functions)


def test_the_environment_finds_lumbre_and_torch_in_folders_of_their_own() -> None:
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert told("pth") == [f"/opt/{name}/lib/{python}/site-packages" for name in ("app", "torch")]
