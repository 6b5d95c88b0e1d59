"""Callers who wait for invocations to be over."""

import asyncio
from collections.abc import Callable, Iterator

from runtime.model import Invocation

SHORT = 10.0  # seconds; who waits for longer is answered up to a second late

_Future = asyncio.Future[Invocation | None]


class Waiters:
    """Who waits for which invocation; one timer serves all who wait for long."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[_Future]] = {}
        self._patient: dict[_Future, float] = {}  # loop time of the end of its patience
        self._patience: asyncio.TimerHandle | None = None
        self._released: Callable[[str], bool] = lambda _: False

    def __contains__(self, invocation: str) -> bool:
        return invocation in self._waiting

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    async def wait(self, invocation: str, seconds: float) -> Invocation | None:
        """The invocation once it is over; None if that takes longer, or nobody may wait any more.

        Nobody may be missed: it must not have been over before the call.
        """
        if self._released(invocation):
            return None
        loop = asyncio.get_running_loop()
        future: _Future = loop.create_future()
        waiting = self._waiting.setdefault(invocation, [])
        waiting.append(future)
        # Most are answered long before: a timer of its own costs more than the rest of a wait.
        timer = loop.call_later(seconds, _resolve, future, None) if seconds < SHORT else None
        if timer is None:
            self._patient[future] = loop.time() + seconds
            if self._patience is None:
                self._patience = loop.call_later(SHORT, self._lose_patience)
        try:
            return await future
        finally:
            if timer:
                timer.cancel()
            else:
                del self._patient[future]
            if (left := self._waiting.get(invocation)) and future in left:
                left.remove(future)
                if not left:
                    del self._waiting[invocation]

    def over(self, invocation: Invocation) -> None:
        """It is over: answer whoever waits for it."""
        if futures := self._waiting.pop(invocation.message.id, None):
            for future in futures:
                _resolve(future, invocation)

    def release(self, which: Callable[[str], bool]) -> None:
        """Nobody waits any more for those that `which` says, nor begins to."""
        self._released = which
        for id, futures in list(self._waiting.items()):
            if which(id):
                for future in futures:
                    _resolve(future, None)

    def _lose_patience(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for future, until in self._patient.items():
            if until <= now:
                _resolve(future, None)
        self._patience = loop.call_later(1, self._lose_patience) if self._patient else None


def _resolve(future: _Future, invocation: Invocation | None) -> None:
    if not future.done():
        future.set_result(invocation)
