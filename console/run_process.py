"""The process of one run: under a guard, with its events in one file and its words in another.

The guard (`loadtest.servers.guard`) ends it with all it started when this process is gone.
"""

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.servers.guarded import Guarded

EVENTS, LOG = "events.ndjson", "log.txt"
NEEDED = ("yaml", "matplotlib")  # modules that a run needs; the extra `loadtest` has them
SHELL = f'exec "$@" >{EVENTS}'  # standard error goes to the log
FAREWELL = 5.0  # seconds from SIGTERM to SIGKILL


def missing() -> str:
    """What is not installed that a run needs, in words; empty where all is there."""
    return " and ".join(name for name in NEEDED if find_spec(name) is None)


def launch(program: list[str], folder: Path) -> "Guarded":
    """Start a program in a folder; blocks until it has its number."""
    from loadtest.servers.guarded import Guarded

    source = str(Path(__file__).parent.parent)  # where `loadtest` is, however this was started
    path = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {k: v for k, v in os.environ.items() if not k.startswith("LUMBRE_")}
    command = ["/bin/sh", "-c", SHELL, "sh", *program]
    environment = own | {"PYTHONPATH": os.pathsep.join(path)}
    return Guarded(command, environment, folder, folder / LOG, end=signal.SIGTERM)


def end(guarded: "Guarded") -> None:
    """See a process off; what has not ended on SIGTERM by then is killed."""
    guarded.send(signal.SIGTERM)
    if not guarded.wait(FAREWELL):
        guarded.kill()


def born(pid: int) -> int | None:
    """When a process began, in ticks of the kernel since its boot; None where it has ended.

    Field 22 of /proc/PID/stat (proc_pid_stat(5)); a program that becomes another one keeps it.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else int(after_name[19])
