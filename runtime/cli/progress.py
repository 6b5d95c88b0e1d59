"""How long work goes, on a terminal or in a log."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from runtime.cli import terminal


class Lines:
    """Progress as lines, for a log: what is waited for is a line when it changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._waiting = ""

    def step(self, text: str) -> None:
        """Print what is done."""
        self._console.print(terminal.plain(text), soft_wrap=True)

    def waiting(self, text: str) -> None:
        """Print what is waited for, unless that was the last thing said of it."""
        if text != self._waiting:
            self._waiting = text
            self.step(text)


class Live:
    """Progress on a terminal: below what is done stands what is waited for."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status

    def step(self, text: str) -> None:
        """Print what is done."""
        self._console.print(terminal.plain(text), soft_wrap=True)

    def waiting(self, text: str) -> None:
        """Show what is waited for."""
        self._status.update(terminal.plain(text))


@contextmanager
def shown_progress() -> Iterator[Lines | Live]:
    """Somebody to tell how it goes, on standard output."""
    console = terminal.console()
    if not console.is_terminal:
        yield Lines(console)
        return
    with console.status("") as status:
        yield Live(console, status)
