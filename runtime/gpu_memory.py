"""How much of a GPU's memory each process holds, as nvidia-smi tells it.

It takes nvidia-smi a tenth of a second to answer, so it is asked in a thread, seldom, and only
while somebody wants to know.
"""

import asyncio
import logging
import shutil
import subprocess
import time
from collections.abc import Callable

ASK_EVERY = 5.0  # seconds
PATIENCE = 20.0  # seconds that nvidia-smi may take
QUERY = [
    "nvidia-smi",
    "--query-compute-apps=pid,used_gpu_memory",
    "--format=csv,noheader,nounits",  # MiB
]

log = logging.getLogger(__name__)


class GpuMemory:
    """Remembers what nvidia-smi told last, and asks again when that is old and somebody looks."""

    def __init__(self, ask: Callable[[], str] | None = None) -> None:
        self._ask = ask or (_ask if shutil.which(QUERY[0]) else None)
        self._held: dict[int, int] = {}  # bytes, by pid
        self._asked_at = -ASK_EVERY  # monotonic seconds
        self._asking: asyncio.Task[None] | None = None

    def of(self, pid: int) -> int | None:
        """Bytes that a process held at the last look, some seconds ago; None where nobody knows.

        In a container nvidia-smi may name processes as the host does, or none: then nobody knows.
        """
        now = time.monotonic()
        if self._ask and self._asking is None and now - self._asked_at >= ASK_EVERY:
            self._asked_at = now
            self._asking = asyncio.create_task(self._look(self._ask), name="gpu memory")
        return self._held.get(pid)

    async def close(self) -> None:
        """Ask no more."""
        self._ask = None
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _look(self, ask: Callable[[], str]) -> None:
        try:
            self._held = held_by(await asyncio.to_thread(ask))
        except (OSError, subprocess.SubprocessError) as error:
            self._held = {}
            log.debug("nvidia-smi does not tell who holds memory: %s", error)
        finally:
            self._asking = None


def held_by(listed: str) -> dict[int, int]:
    """Bytes by pid, from nvidia-smi's list; a process on several GPUs holds what it holds on all.

    What is no number there ([N/A], under some drivers) is left out.
    """
    held: dict[int, int] = {}
    for line in listed.splitlines():
        pid, _, used = (field.strip() for field in line.partition(","))
        if pid.isdecimal() and used.isdecimal():
            held[int(pid)] = held.get(int(pid), 0) + int(used) * 2**20
    return held


def _ask() -> str:
    told = subprocess.run(QUERY, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return told.stdout
