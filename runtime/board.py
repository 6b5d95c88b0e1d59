"""One page of memory that a replica shares with the worker, written without a system call.

Outcomes of short jobs leave a replica together, so the worker learns of them late.  When a replica
dies, or seems to run for too long, the board tells which of its jobs it had really begun, and when.
The other way, it tells the replica which job it is that somebody cancelled.
"""

import mmap
import os
import time

IN_HAND = 256  # jobs a replica may have in hand, at the most: one byte for each
SIZE = 24 + IN_HAND  # bytes: two counters, an instant and flags, each written at once, by one side


class Board:
    """The page of one replica; jobs are numbered from 1 in the order they were sent."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SIZE)
        self._numbers = memoryview(self._memory)[:16].cast("Q")
        self._times = memoryview(self._memory)[16:24].cast("d")
        self._revoked = memoryview(self._memory)[24:]

    @staticmethod
    def create() -> int:
        """The file descriptor of a fresh page, for the two sides to map."""
        fd = os.memfd_create("lumbre-board")
        os.ftruncate(fd, SIZE)
        return fd

    def begin(self, number: int) -> None:
        """Say that job `number` runs from now on."""
        self._times[0] = time.monotonic()  # before the number, which vouches for it
        self._numbers[0] = number

    @property
    def begun(self) -> int:
        """The job that was begun last; 0 before the first."""
        return self._numbers[0]

    @property
    def begun_at(self) -> float:
        """When that was, by the monotonic clock that all processes of a machine share."""
        return self._times[0]

    @property
    def cancelled(self) -> int:
        """The job that was cancelled last; 0 before the first."""
        return self._numbers[1]

    @cancelled.setter
    def cancelled(self, number: int) -> None:
        self._numbers[1] = number

    def revoke(self, number: int) -> None:
        """Say that job `number`, which waits behind others, is not to be begun."""
        self._revoked[number % IN_HAND] = 1

    def allow(self, number: int) -> None:
        """Say that job `number` may be begun, whatever became of the one in its place before."""
        self._revoked[number % IN_HAND] = 0

    def is_revoked(self, number: int) -> bool:
        """Whether job `number` is not to be begun."""
        return self._revoked[number % IN_HAND] != 0

    def close(self) -> None:
        """Let go of the page; it goes when the other side has, too."""
        self._numbers.release()
        self._times.release()
        self._revoked.release()
        self._memory.close()
