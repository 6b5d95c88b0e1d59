"""Functions that start threads and processes of their own."""

import os
import subprocess
import threading
import time
from typing import Literal

from runtime import Context, Scaling, function

ONE = Scaling(max_replicas=1)


@function(scaling=ONE)
def fork_back() -> int:
    """Fork, and let the child come back as if nothing had happened."""
    os.fork()
    return os.getpid()


@function(scaling=ONE, timeout=30, max_attempts=1)
def leave_children(context: Context, then: Literal["return", "exit", "sleep"]) -> list[int]:
    """Start a process and fork another, which both sleep on, and tell their ids."""
    forked = os.fork()
    if forked == 0:
        time.sleep(1000)
    started = subprocess.Popen(["sleep", "1000"])
    context.progress(pids=[forked, started.pid, os.getpid()])
    if then == "exit":
        os._exit(1)
    if then == "sleep":
        time.sleep(1000)
    return [forked, started.pid]


@function(scaling=ONE)
def chatter(context: Context, megabytes: int = 8) -> bytes:
    """Tell progress from four threads while a large result is on its way."""
    stop = threading.Event()

    def tell() -> None:
        while not stop.is_set():
            context.progress(text="x" * 1000)

    threads = [threading.Thread(target=tell, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        context.progress(text="y" * megabytes * 10_000)
    stop.set()
    return b"done"


@function(scaling=ONE)
def print_forever() -> int:
    """Start programs that never stop to write, and return."""
    for _ in range(2):
        subprocess.Popen(["yes", "and again"])
    return os.getpid()


@function(scaling=ONE, max_attempts=1)
def leave_a_daemon(seconds: float) -> None:
    """Fork a process that leaves the group and keeps every file descriptor, and exit."""
    gone, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.write(tell, b"!")
        time.sleep(seconds)
        os._exit(0)
    os.read(gone, 1)
    os._exit(4)
