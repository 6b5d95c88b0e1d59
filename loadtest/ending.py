"""How a program that has started others leaves nothing behind when it is told to end."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_LIMIT = 20.0  # seconds from SIGTERM to SIGKILL


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, wait until it has, and kill it where it takes too long."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Have SIGTERM end what runs as Ctrl-C does: with everything that was started."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
