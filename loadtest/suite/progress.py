"""What somebody sees while the suite runs: a line of progress, or its events as NDJSON.

The line is drawn between calls only, so that drawing takes nothing from what is measured.
"""

import time
from types import TracebackType
from typing import IO

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.suite.event import Event

DRAW_EVERY = 0.2  # seconds, at the most often


class Lines:
    """Every event as a line of JSON."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def __call__(self, event: Event) -> None:
        self._out.write(orjson.dumps(event).decode() + "\n")
        self._out.flush()


class Watch:
    """Progress in a terminal, and what went wrong; as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn = 0.0
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("looking at this machine", total=None)

    def __enter__(self) -> "Watch":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        for line in said(event):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        if "total" in event:
            self._progress.update(self._task, completed=event["done"], total=event["total"])
        if text := doing(event):
            self._progress.update(self._task, description=text)
        now = time.monotonic()
        if now - self._drawn > DRAW_EVERY:
            self._drawn = now
            self._progress.refresh()


def doing(event: Event) -> str | None:
    """An event as what goes on, in a few words."""
    match event["event"]:
        case "began":
            return "warming up"
        case "ceiling":
            return f"ceilings: {event['name']} on the {event['device']}"
        case "sample":
            return f"{_cell(event)}: {duration(event['seconds'])} ({event['n']})"
        case "cell":
            return f"{_cell(event)}: {event['stopped']}"
        case "parity":
            return f"parity of {event['case']}"
        case "cold":
            return f"cold start of {event['case']} on the {event['device']}"
    return None


def said(event: Event) -> list[str]:
    """What stays to be read: devices, notes, and cells that did not go well."""
    match event["event"]:
        case "began":
            devices = [
                f"{d['device']}: {d['name']}"
                + (", simulated on the CPU" if d["simulated"] else "")
                + (f", {d['threads']} threads" if d["threads"] else "")
                for d in event["devices"]
            ]
            return [*devices, *(f"note: {note}" for note in event["notes"])]
        case "note":
            return [f"note: {event['text']}"]
        case "cell" if event["failures"] or not event["n"]:
            failed = f"{event['failures']} calls failed, " if event["failures"] else ""
            return [f"{_cell(event)}: {failed}{event['n']} samples; {event['stopped']}"]
        case "parity" if event["holds"] is False:
            return [f"{event['case']} at {event['size']:g}: no parity: {event['reason']}"]
    return []


def duration(seconds: float) -> str:
    """Seconds with three digits, in the unit that suits them."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _cell(event: Event) -> str:
    size = f" at {event['size']:g}" if event["size"] else ""
    return f"{event['case']}{size} on the {event['device']}"
