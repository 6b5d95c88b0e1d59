"""Who may go next: few at once, fewer to one host, and nobody behind a host that is slow.

Each host has a line of its own, and lines take turns.  A line is short: who finds it full is told
after how long to come again, as if it had been given a place further back.  Nothing here waits or
looks at a clock.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

AT_ONCE = 32
PER_HOST = 4
LONGEST = 64  # in one line; at 15 s each, the last of them waits for four minutes
FIRST_GUESS = 0.05  # seconds one takes, before the first has ended; too little costs one more turn
LAST_COUNTS = 0.3  # how much the latest weighs in what one takes
REMEMBERED = 1000  # hosts whose pace is known, those that are busy among them
LEAST, MOST = 1.0, 300.0  # seconds after which somebody is to come again

T = TypeVar("T")


@dataclass(slots=True)
class _Line(Generic[T]):
    """One host's: who waits, how many are under way, and how long one takes."""

    waiting: deque[T] = field(default_factory=deque)
    under_way: int = 0
    takes: float = FIRST_GUESS  # seconds
    through: float = 0.0  # when those who were sent away will have had their turn


class Lines(Generic[T]):
    """Lines of things, by host."""

    def __init__(
        self, at_once: int = AT_ONCE, per_host: int = PER_HOST, longest: int = LONGEST
    ) -> None:
        self.under_way = 0
        self._at_once = at_once
        self._per_host = per_host
        self._longest = longest
        self._lines: dict[str, _Line[T]] = {}
        self._turns: deque[str] = deque()  # hosts for which somebody waits, once each

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(line.waiting) for line in self._lines.values())

    def join(self, host: str, item: T, now: float) -> float | None:
        """Put it in its line; where that is full, the seconds after which to come again.

        `now` is of any clock that goes on steadily, in seconds.
        """
        line = self._lines.setdefault(host, _Line())
        if len(line.waiting) >= self._longest:
            return self._later(line, now)
        if not line.waiting:
            self._turns.append(host)
        line.waiting.append(item)
        return None

    def _later(self, line: _Line[T], now: float) -> float:
        """When a place further back would have its turn; each who asks is a place itself."""
        pace = line.takes / self._per_host
        wait = max(line.through - now, len(line.waiting) * pace)
        line.through = now + min(wait + pace, MOST)
        return min(max(wait, LEAST), MOST)

    def start(self) -> tuple[str, T] | None:
        """Let the next one go, with its host; None where nobody may now."""
        if self.under_way >= self._at_once:
            return None
        for _ in range(len(self._turns)):
            host = self._turns.popleft()
            line = self._lines[host]
            if line.under_way >= self._per_host:
                self._turns.append(host)
                continue
            item = line.waiting.popleft()
            if line.waiting:
                self._turns.append(host)
            line.under_way += 1
            self.under_way += 1
            return host, item
        return None

    def finish(self, host: str, seconds: float) -> None:
        """One that was started has ended, after so many seconds."""
        line = self._lines[host]
        line.under_way -= 1
        self.under_way -= 1
        line.takes += LAST_COUNTS * (seconds - line.takes)
        self._lines[host] = self._lines.pop(host)  # the latest is the last
        if len(self._lines) > REMEMBERED:
            self._forget()

    def _forget(self) -> None:
        """Forget the host that nobody has waited for longest."""
        for host, line in self._lines.items():
            if not line.under_way and not line.waiting:
                del self._lines[host]
                return

    def clear(self) -> Iterable[T]:
        """Take out everybody who waits."""
        waiting = list(chain.from_iterable(line.waiting for line in self._lines.values()))
        for line in self._lines.values():
            line.waiting.clear()
        self._turns.clear()
        return waiting
