"""Processes that hold imports ready and fork replicas in milliseconds.

`python -m runtime.forkserver` is the root: it imports torch where that is wanted, and forks one
zygote per function file.  A zygote imports its file, and forks replicas.  Neither ever touches
CUDA, which does not survive a fork.  Torch's pages are shared by all of them, a file that hangs or
crashes while it is imported takes nobody with it, and a changed file costs only its own zygote.

`kill -9` of the node leaves nobody behind: its control sockets close, at which a zygote kills its
replicas with all that they have forked, and leaves.  Whoever runs user code or imports something
may not notice, and is told to die with its parent instead (PR_SET_PDEATHSIG).

Orders and answers are JSON messages on a SOCK_SEQPACKET pair; file descriptors travel beside them
(SCM_RIGHTS).  The client side is `runtime.zygote`.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import orjson

MAX_ORDER = 64 * 1024  # bytes of one order
MAX_FDS = 4
PATIENCE = 1.0  # seconds the root leaves to its zygotes, which have replicas to kill
PR_SET_PDEATHSIG = 1

Order = dict[str, Any]
Body = Callable[[Order, list[int]], None]


class Nursery:
    """Fork a child for every order, tell of every child that ends, and leave with the parent.

    Orders: `{"do": "fork", "name": …, …}` with file descriptors for the child, which runs `body`;
    `{"do": "kill", "name": …}`; `{"do": "signal", "name": …, "signal": n}`.  Answers:
    `{"forked": name, "pid": n}` and `{"ended": name, "status": wait status}`.
    """

    def __init__(self, control: socket.socket, body: Body, patience: float = 0.0) -> None:
        self.control = control
        self.body = body
        self.patience = patience  # seconds children may take to leave by themselves at the end
        self.children: dict[int, str] = {}
        self.wakeup, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self.wakeup, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> NoReturn:
        """Serve orders until the control socket closes, then end every child and exit."""
        die_with_parent(None)
        self.reap()
        while True:
            readable = self.wait([self.control.fileno()])
            if self.control.fileno() in readable and not self.serve():
                self.leave()

    def wait(self, fds: list[int], seconds: float | None = None) -> list[int]:
        """Those of `fds` that can be read, once one can or a child has ended."""
        readable, _, _ = select.select([*fds, self.wakeup], [], [], seconds)
        if self.wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wakeup, 4096)
        self.reap()
        return readable

    def leave(self) -> NoReturn:
        until = time.monotonic() + self.patience
        while self.children and (left := until - time.monotonic()) > 0:
            self.wait([], left)
        for pid in self.children:
            kill_group(pid)
        os._exit(0)

    def serve(self) -> bool:
        """Carry out one order; False once there will be no more."""
        try:
            data, fds, _, _ = socket.recv_fds(self.control, MAX_ORDER, MAX_FDS)
        except ConnectionError:
            return False
        if not data:
            return False
        order: Order = orjson.loads(data)
        if order["do"] == "fork":
            self.fork(order, fds)
        else:
            number = signal.SIGKILL if order["do"] == "kill" else order["signal"]
            for pid, name in self.children.items():
                if name == order["name"]:
                    kill_group(pid) if number == signal.SIGKILL else os.kill(pid, number)
        return True

    def fork(self, order: Order, fds: list[int]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.become_child(parent, order, fds)
        for fd in fds:
            os.close(fd)
        self.children[pid] = order["name"]
        self.tell({"forked": order["name"], "pid": pid})

    def become_child(self, parent: int, order: Order, fds: list[int]) -> NoReturn:
        status = 1
        try:
            die_with_parent(parent)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # An inherited control socket would keep this one's parent's client from seeing its end.
            self.control.close()
            os.close(self.wakeup)
            os.close(self._wake)
            self.body(order, fds)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def reap(self) -> None:
        """Tell of every child that has ended; what it left running in its group is killed."""
        with contextlib.suppress(ChildProcessError):  # there is none at all
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                name = self.children.pop(ended.si_pid, None)
                if name is not None:
                    kill_group(ended.si_pid)  # before it is reaped, while the id is still its own
                _, status = os.waitpid(ended.si_pid, 0)
                if name is not None:  # else the file has started it while it was imported
                    self.tell({"ended": name, "status": status})

    def tell(self, answer: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self.control.send(orjson.dumps(answer))


def kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)  # it may not have reached setpgid yet


def die_with_parent(parent: int | None) -> None:
    """Have the kernel kill this process when its parent ends; leave at once if it already has.

    None takes that back, for a process that can see for itself that its control socket closes.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0 if parent is None else signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def zygote(order: Order, fds: list[int]) -> None:
    """Import one function file, say what is in it, and fork its replicas."""
    from runtime import replica
    from runtime.sourcefile import SourceFile

    control = socket.socket(fileno=fds[0])
    own = os.getpid()
    source = SourceFile(order["file"])
    answer = source.load()
    if os.getpid() != own:
        os._exit(0)  # the file forks while it is imported, and this is the child
    gc.collect()
    gc.freeze()  # the collector would otherwise write to, and so copy, every shared page
    # A description can be longer than a message may be, so it travels as a file.
    with open(order["answer"], "wb") as file:
        file.write(orjson.dumps(answer))
    control.send(b'{"loaded":true}')
    if answer["error"]:
        return
    Nursery(control, lambda order, fds: replica.main(source, order, fds)).run()


def main() -> NoReturn:
    """Be the root: `python -m runtime.forkserver CONTROL_FD PARENT_PID [torch]`."""
    control_fd, parent, *preload = sys.argv[1:]
    die_with_parent(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's to handle
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    import runtime.replica
    import runtime.sourcefile  # noqa: F401

    if "torch" in preload:
        _preload_torch()
    control = socket.socket(fileno=int(control_fd))
    with contextlib.suppress(BrokenPipeError):  # the node has gone meanwhile
        control.send(b'{"ready":true}')
    Nursery(control, zygote, PATIENCE).run()


def _preload_torch() -> None:
    """Import torch; where that fails, each file that imports it fails, and says why."""
    with contextlib.suppress(Exception):
        import numpy  # noqa: F401
        import torch

        torch.set_num_threads(1)  # no thread pool here: it would not survive the fork


if __name__ == "__main__":
    main()
