"""CPU time of processes, by groups."""

import os
import subprocess
import sys
import time

from loadtest.budgets.cpu import descendants, spent, spent_by

BUSY = "import time\nwhile time.process_time() < 0.2: pass\nprint(1, flush=True); input()"
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_what_a_process_spends_is_counted_and_its_children_are_found() -> None:
    command = [sys.executable, "-c", CHILD, BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        (child,) = descendants(parent.pid)
        counted = spent_by({"parent": [parent.pid], "all": [parent.pid, child]})
        assert counted["all"] - counted["parent"] >= 0.15
        assert child in descendants(os.getpid())
        parent.communicate(b"\n")
    assert spent(child) == 0.0


def test_our_own_time_goes_on() -> None:
    before, ours = spent(os.getpid()), time.process_time()
    while time.process_time() < ours + 0.05:
        pass
    assert spent(os.getpid()) - before >= 0.02
