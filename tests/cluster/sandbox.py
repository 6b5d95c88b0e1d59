"""One container as a local process: its own mounts and root file system, the machine's network.

The process sees this machine's files, read-only, with an image's files over them and the pod's
volumes in their places, so that what writes elsewhere fails as it would in a container whose root
file system is read-only.  It runs as the pod's user.  What it keeps is the right to read every
file (CAP_DAC_READ_SEARCH), since the interpreter may lie in somebody's home.  There is no limit of
CPU or memory, no process namespace and no seccomp profile.  Linux, as root.
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from loadtest.servers.guarded import Guarded

RIGHTS = "-all,+dac_read_search"
LAUNCH = f"--inh-caps={RIGHTS} --ambient-caps={RIGHTS} --bounding-set={RIGHTS} --no-new-privs"


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume's folder on this machine, and where the container sees it."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """What one container is made of. `image`: files that lie over this machine's."""

    command: Sequence[str]
    environment: Mapping[str, str]
    hostname: str
    workdir: str
    user: int
    image: Path
    mounts: Sequence[Mount]


def lacking() -> str:
    """What this machine lacks for a sandbox; empty where it lacks nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "pods as local processes take root on Linux"
    programs = [
        name for name in ("unshare", "hostname", "setpriv", "chroot") if not shutil.which(name)
    ]
    return f"no {' and no '.join(programs)} on this machine" if programs else ""


class Sandbox:
    """A running container; all that it started ends with it, and it ends with this process."""

    def __init__(self, container: Container, folder: Path, log: Path) -> None:
        for name in ("layer", "root"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        script = folder / "start.sh"
        script.write_text(_script(container, folder))
        command = ["unshare", "--uts", "--mount", "--propagation", "private", "bash", str(script)]
        self.log = log
        self._process = Guarded(command, os.environ, folder, log, end=signal.SIGTERM)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; as a shell has it: 128 + the signal that ended it."""
        if self._process.status is not None:
            self._process.wait(0)  # closes what it was watched by
        return self._process.status

    def stop(self) -> None:
        """SIGTERM to the container's process."""
        self._process.send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait until all of it is gone."""
        self._process.kill()


def _script(container: Container, folder: Path) -> str:
    """Mounts, then the container's process in the place of the shell: signals reach it."""
    layer, root = shlex.quote(str(folder / "layer")), shlex.quote(str(folder / "root"))
    mounts = sorted(container.mounts, key=lambda mount: len(PurePosixPath(mount.target).parts))
    targets = [mount.target for mount in mounts] + [container.workdir]
    lines = [
        "set -e",
        f"hostname {shlex.quote(container.hostname)}",
        f"mount -t tmpfs tmpfs {layer}",  # a layer must not lie below another one
        f"cp -a {shlex.quote(str(container.image))}/. {layer}",
        *(f"mkdir -p {layer}{shlex.quote(target)}" for target in targets),
        f"mount -t overlay overlay -o lowerdir={layer}:/ {root}",
        *(f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev", "sys")),
        f"mount -t tmpfs -o size=64m shm {root}/dev/shm",
        *(line for mount in mounts for line in _mounted(mount, root)),
    ]
    environment = [f"{name}={value}" for name, value in container.environment.items()]
    command = shlex.join(["env", "-C", container.workdir, "-i", *environment, *container.command])
    user = f"--reuid={container.user} --regid={container.user} --clear-groups"
    lines.append(f"exec chroot {root} setpriv {user} {LAUNCH} {command}")
    return "\n".join(lines) + "\n"


def _mounted(mount: Mount, root: str) -> list[str]:
    target = root + shlex.quote(mount.target)
    lines = [f"mkdir -p {target}", f"mount --bind {shlex.quote(str(mount.source))} {target}"]
    return [*lines, f"mount -o remount,bind,ro {target}"] if mount.read_only else lines
