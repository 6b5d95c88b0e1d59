"""Write the golden files again, after a change that is meant: read the difference before it stays.

usage: .venv/bin/python -m tests.deploy.golden
"""

from pathlib import Path

from deploy.bundle import PHASES, bundle
from deploy.stream import as_stream
from deploy.values import OVERLAYS, read_values
from tests.specs import shipped

FOLDER = Path(__file__).parent
HEAD = (
    "What `lumbre deploy render` makes of functions/, for people to read and compare.\n"
    "Written by: .venv/bin/python -m tests.deploy.golden"
)


def golden(overlay: str) -> str:
    """An overlay's objects for the shipped functions, as one stream."""
    made = bundle(shipped(), read_values(overlay))
    return as_stream([each for phase in PHASES for each in made[phase]], HEAD)


def main() -> None:
    """Write a file for each overlay."""
    for overlay in OVERLAYS:
        file = FOLDER / f"{overlay}.yaml"
        file.write_text(golden(overlay), encoding="utf-8")
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
