"""Run one server, and end it with all it started when whoever asked for it is gone.

Run by its path, without this project: `python -I -S guard.py UID GID SIGNAL COMMAND…`.  Standard
input is a socket to the parent: the server's pid goes out on it as a line, and its end of file says
that the parent is gone.  The server then gets SIGNAL, and after a while SIGKILL; so does all that
it left behind, which as orphans become children of this process.  It exits as the server did.
"""

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
PATIENCE = 3.0  # seconds from SIGNAL to SIGKILL once the parent is gone
LIFELINE = 0  # the socket to the parent


def main(line: list[str]) -> int:
    uid, gid, last = int(line[0]), int(line[1]), int(line[2])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    awake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    server = os.fork()
    if server == 0:
        become(line[3:], uid, gid, last, libc)
    os.write(LIFELINE, f"{server}\n".encode())
    status = until_ended(server, awake, last)
    end_children()
    return status if status >= 0 else 128 - status


def become(command: list[str], uid: int, gid: int, last: int, libc: ctypes.CDLL) -> None:
    """Turn this process into the server."""
    try:
        os.setpgid(0, 0)
        if uid != os.geteuid():
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        libc.prctl(PR_SET_PDEATHSIG, last)  # after setuid, which forgets it
        os.dup2(os.open(os.devnull, os.O_RDWR), LIFELINE)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
        os._exit(127)


def until_ended(server: int, awake: int, last: int) -> int:
    """The server's status, minus the signal where one ended it."""
    deadline = None
    watched = [awake, LIFELINE]
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select(watched, [], [], left)[0]
        if LIFELINE in ready and not os.read(LIFELINE, 1):
            watched.remove(LIFELINE)
            deadline = time.monotonic() + PATIENCE
            os.kill(server, last)
        elif not ready:
            os.kill(server, signal.SIGKILL)
            deadline = None
        if awake in ready:
            os.read(awake, 4096)
        status = reap(server)
        if status is not None:
            return status


def reap(server: int) -> int | None:
    """Collect every child that ended; the server's status if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == server:
            found = os.waitstatus_to_exitcode(status)


def end_children() -> None:
    """Kill what the server left behind; whatever that leaves becomes a child and comes next."""
    while True:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(after_name[1]) == os.getpid() and after_name[0] != "Z":
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
