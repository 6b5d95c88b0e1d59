"""Shows a load test while it runs: a live view in a terminal, a line now and then elsewhere.

The view is drawn by a process of its own.  Drawing takes 3 to 10 ms, four times a second; in the
process that sends, one request in fifty would have waited for it, and its latency told a lie.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from loadtest.quantity import counted, duration
from loadtest.snapshot import Queue, Snapshot, dumps, loads

LINE_EVERY = 5.0  # seconds between two lines where there is no terminal
MOST_QUEUES = 12  # shown at once, the busiest
END = 3.0  # seconds the view may take to end


class Watch(Protocol):
    """Who is shown a load test, about four times a second; it must return at once."""

    def show(self, snapshot: Snapshot) -> None: ...


@contextmanager
def watching(stream: IO[str], quiet: bool = False) -> Iterator[Watch | None]:
    """Who shows the load on a stream: a live view, lines, or nobody where it is to be quiet."""
    if quiet:
        yield None
    elif stream.isatty():
        with Screen(stream) as screen:
            yield screen
    else:
        yield Lines(stream)


class Lines:
    """Writes a line every five seconds of the load."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._next = LINE_EVERY

    def show(self, snapshot: Snapshot) -> None:
        if snapshot.elapsed >= self._next:
            self._next = snapshot.elapsed - snapshot.elapsed % LINE_EVERY + LINE_EVERY
            print(line(snapshot), file=self._stream, flush=True)


class Screen:
    """Draws a view in a process of its own, and takes it off the screen at the end."""

    def __init__(self, stream: IO[str]) -> None:
        # A session of its own: Ctrl-C in the terminal is for the load test, which then ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "loadtest.live"],
            stdin=subprocess.PIPE,
            stdout=stream,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._rest = b""  # of a line that the pipe had no room for

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        """Let it draw what it was given, and end."""
        try:
            self._process.communicate(timeout=END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show(self, snapshot: Snapshot) -> None:
        """Have it drawn; left out where the terminal does not keep up."""
        data = self._rest or dumps(snapshot)
        try:
            self._rest = data[os.write(self._pipe, data) :]
        except BlockingIOError:
            pass  # the view is behind: the next moment is as good
        except BrokenPipeError:
            self._rest = b""  # there is no view any more, and the load goes on


def line(shot: Snapshot) -> str:
    """A moment in one line."""
    of = "" if shot.length is None else f" of {shot.length:,.0f}"
    told = [f"{shot.elapsed:,.0f}{of} s", f"{shot.throughput:,.0f}/s", _latencies(shot.latest)]
    told += [f"{shot.faults:,} faults"] if shot.faults else []
    told += [f"{shot.throttled:,} throttled"] if shot.throttled else []
    told += [f"{shot.waiting:,} in flight"]
    told += [f"{shot.held:,} held"] if shot.held else []
    told += [f"{q.function}.{q.device} {q.backlog:,} on {q.replicas}" for q in _busy(shot.queues)]
    return ", ".join(told)


def view(shot: Snapshot) -> Text:
    """A moment as a screen shows it."""
    of = "" if shot.length is None else f" of {shot.length:,.0f}"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(shot.name or "load test", "bold").append(f" → {shot.url}\n", "dim")
    stage = f"stage {shot.stage} of {shot.stages} ({shot.kind})"
    where = "waiting for the last answers" if shot.ending else stage
    text.append(f"{shot.elapsed:,.0f}{of} s".ljust(16)).append(f"{where}\n", "cyan")
    if shot.length:
        done = min(1.0, shot.elapsed / shot.length)
        text.append("━" * round(done * 60), "green").append("━" * (60 - round(done * 60)), "dim")
        text.append("\n")
    _row(text, "succeeded", f"{shot.succeeded:,}", f"{shot.throughput:,.0f} a second")
    _row(text, "latency", "last second", _latencies(shot.latest))
    _row(text, "", "overall", _latencies(shot.overall))
    _row(text, "faults", f"{shot.faults:,}", style="red" if shot.faults else "")
    _row(text, "throttled", f"{shot.throttled:,}", style="yellow" if shot.throttled else "")
    _row(text, "in flight", f"{shot.waiting:,}", f"{shot.held:,} held" if shot.held else "")
    for queue in _busy(shot.queues):
        _row(text, f"{queue.function}.{queue.device}", f"backlog {queue.backlog:,}", _state(queue))
    if shot.saturated:
        what = f"in {shot.saturated:,} s the load generator, not the server, was the bottleneck"
        text.append(f"{what}\n", "yellow")
    text.append("Ctrl-C ends it, with a full report of what ran", "dim")
    return text


def _row(text: Text, name: str, value: str, more: str = "", style: str = "") -> None:
    text.append(f"{name:<24}", "dim").append(f"{value:<16}", style).append(f"{more}\n")


def _latencies(values: Iterable[float | None]) -> str:
    names = zip(("p50", "p95", "p99"), values, strict=True)
    return ", ".join(f"{name} {duration(v)}" for name, v in names)


def _busy(queues: Iterable[Queue]) -> list[Queue]:
    """Those in which something waits, runs or may run; the busiest, in order of their names."""
    alive = [queue for queue in queues if queue.backlog or queue.replicas]
    alive.sort(key=lambda queue: -queue.backlog)
    return sorted(alive[:MOST_QUEUES], key=lambda queue: (queue.function, queue.device))


def _state(queue: Queue) -> str:
    counts = ((queue.busy, "busy"), (queue.starting, "starting"))
    states = [f"{number} {name}" for number, name in counts if number]
    told = f" ({', '.join(states)})" if states else ""
    return f"{counted(queue.replicas, 'replica')}{told}"


def main() -> None:
    """Draw every moment that comes in at standard input, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        for moment in sys.stdin.buffer:
            if not moment.endswith(b"\n"):
                break  # cut short: whoever wrote it is gone
            live.update(view(loads(moment)), refresh=True)


if __name__ == "__main__":
    main()
