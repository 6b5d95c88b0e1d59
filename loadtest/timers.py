"""Callbacks at exact instants: one heap, and one alarm of the system for its head.

The timers of asyncio and uvloop are rounded to whole milliseconds, which is longer than many
answers take.  Linux has timers that are files (timerfd) and exact to some ten microseconds; where
there are none, the loop's own are used and arrivals are up to a millisecond late, which the load
test measures and says.
"""

import asyncio
import ctypes
import heapq
import os
import sys
import time
from collections.abc import Callable

ABSOLUTE = 1  # TFD_TIMER_ABSTIME
FLAGS = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)  # TFD_NONBLOCK | TFD_CLOEXEC
AT_ONCE = 64  # callbacks before the loop may read what has arrived

Callback = Callable[[], None]


class _Setting(ctypes.Structure):
    """struct itimerspec: the interval (none), and the instant as seconds and nanoseconds."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


class Timers:
    """Calls back at instants on the clock of `time.monotonic`; needs a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Callback]] = []
        self._number = 0  # of those set, so that equals are called in order
        self._set_to: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._setting = _Setting()
        self._file = _timer_file()
        self.exact = self._file >= 0
        if self.exact:
            self._loop.add_reader(self._file, self._ring)

    def at(self, instant: float, callback: Callback) -> None:
        """Call back at an instant, or as soon as may be where it is over."""
        self._number += 1
        heapq.heappush(self._heap, (instant, self._number, callback))
        if self._set_to is None or instant < self._set_to:
            self._set(instant)

    def close(self) -> None:
        """Call nothing back any more."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _set(self, instant: float) -> None:
        self._set_to = instant
        if not self.exact:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_later(instant - time.monotonic(), self._ring)
            return
        setting = self._setting
        setting.s = int(instant)
        setting.ns = int((instant - setting.s) * 1e9) or 1  # all zero would switch it off
        _libc.timerfd_settime(self._file, ABSOLUTE, ctypes.byref(setting), None)

    def _ring(self) -> None:
        if self.exact:
            try:
                os.read(self._file, 8)
            except BlockingIOError:  # it was set anew since it rang
                return
        self._set_to = None
        heap = self._heap
        for _ in range(AT_ONCE):
            if not heap or heap[0][0] > time.monotonic():
                break
            heapq.heappop(heap)[2]()
        if heap and (self._set_to is None or heap[0][0] < self._set_to):
            self._set(heap[0][0])


def _timer_file() -> int:
    """A file that can be read once an instant has come; -1 where the system has none."""
    if not sys.platform.startswith("linux"):
        return -1
    clock = time.CLOCK_MONOTONIC
    return int(_libc.timerfd_create(clock, FLAGS))


_libc = ctypes.CDLL(None, use_errno=True)
