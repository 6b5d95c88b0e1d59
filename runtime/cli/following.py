"""Watch an invocation live: a progress bar, the lines it writes, the values it yields.

And a batch: how many of its items are over, and how they ended.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from runtime.cli.terminal import COLOURS, plain
from runtime.model import TERMINAL


@contextmanager
def counting(
    console: Console, batch: Mapping[str, Any]
) -> Iterator[Callable[[Mapping[str, int]], None]]:
    """A bar for a batch whose results go elsewhere; give it how many have ended how.

    There is none where nobody would see it, or where it would lie among the results.
    """
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or sys.stdout.isatty(),
    )
    task = bar.add_task(batch["function"], total=batch["total"])

    def count(ends: Mapping[str, int]) -> None:
        failed = sum(ends.values()) - ends.get("succeeded", 0)
        text = f"{batch['function']}, {failed:,} failed" if failed else batch["function"]
        bar.update(task, completed=sum(ends.values()), description=text)

    with bar:
        yield count


class Following:
    """Shows events as they come, on a console that the result does not go to.

    On no terminal there is no bar, and each thing is a line.
    """

    def __init__(self, console: Console, name: str) -> None:
        self._bar = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[reached]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[values]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._console = console
        self._name = name
        self._task = self._bar.add_task(name, total=None, reached="", values="")
        self._line = ""

    @contextmanager
    def shown(self) -> Iterator["Following"]:
        """Keep the bar on the screen for the length of a block."""
        with self._bar:
            try:
                yield self
            finally:
                self._end_line()

    def show(self, event: str, data: Mapping[str, Any]) -> None:
        """Take the next event of the stream."""
        if event == "log":
            self._write(data["text"])
        elif event == "progress" and "fraction" not in data:
            self._end_line()
            self._console.print(plain(f"→ {orjson.dumps(data['value']).decode()}", "cyan"))
        elif event == "progress":
            self._advance(data)
        elif event in TERMINAL:
            self._end_line()
        else:
            self._state(event, data)

    def _state(self, event: str, data: Mapping[str, Any]) -> None:
        cold = ", a cold start" if data.get("cold") else ""
        attempt = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
        text = f"{self._name} {event} on {data['device']}{attempt}{cold}"
        self._bar.update(self._task, description=f"[{COLOURS.get(event, 'default')}]{text}")
        if not self._console.is_terminal:
            self._console.print(plain(text))

    def _advance(self, data: Mapping[str, Any]) -> None:
        fraction = data["fraction"]
        values = ", ".join(f"{name}={v}" for name, v in data.items() if name != "fraction")
        reached = "" if fraction is None else f"{fraction:4.0%}"
        if fraction is not None:
            self._bar.update(self._task, total=1.0, completed=fraction)
        self._bar.update(self._task, reached=reached, values=values)
        if not self._console.is_terminal:
            self._console.print(plain(f"{reached.strip()} {values}".strip()))

    def _write(self, text: str) -> None:
        """Show whole lines; output arrives in pieces of any length."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._console.print(plain(line, "dim"), soft_wrap=True)

    def _end_line(self) -> None:
        if self._line:
            self._write("\n")
