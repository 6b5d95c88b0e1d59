"""What the images install, read from pyproject.toml by nothing but Python itself.

usage: python requirements.py [--only] EXTRA     the requirements of Lumbre and an extra, or its own
       python requirements.py pth                the folders that the environment finds packages in
torch is left out: the images install it by itself, from an index of its own.
"""

import re
import sys
import tomllib
from pathlib import Path

FOLDERS = ("/opt/app", "/opt/torch")  # in the images; one that is not there is passed over


def requirements(project: dict[str, object], extra: str, *, only: bool) -> list[str]:
    """The requirements, torch left out."""
    extras = project["optional-dependencies"]
    dependencies = project["dependencies"]
    assert isinstance(extras, dict) and isinstance(dependencies, list)
    found = [*([] if only else dependencies), *extras[extra]]
    return [each for each in found if re.split(r"[^A-Za-z0-9._-]", each)[0] != "torch"]


def folders() -> list[str]:
    """Where `pip install --prefix` puts packages, for a .pth file."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [f"{folder}/lib/{python}/site-packages" for folder in FOLDERS]


def main(arguments: list[str]) -> None:
    if arguments == ["pth"]:
        print(*folders(), sep="\n")
        return
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print(*requirements(project, arguments[-1], only="--only" in arguments), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
