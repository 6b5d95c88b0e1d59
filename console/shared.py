"""Answers that many wait for are made once.

Fifty open tabs that show the same page ask for the same thing; what the first of them gets, the
others get, too, for as long as it counts as fresh.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Made(Generic[T]):
    at: float  # monotonic seconds
    answer: "asyncio.Future[T]"


class Shared(Generic[T]):
    """Answers by key, each fresh for some seconds; failures are not kept."""

    def __init__(self, fresh: float) -> None:
        self._fresh = fresh
        self._made: dict[Hashable, _Made[T]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The answer for a key: the fresh one there is, or a new one; raises what `make` does."""
        now = time.monotonic()
        made = self._made.get(key)
        if made is None or now - made.at > self._fresh or _failed(made.answer):
            self._drop_stale(now)
            made = self._made[key] = _Made(now, asyncio.ensure_future(make()))
        return await asyncio.shield(made.answer)

    def _drop_stale(self, now: float) -> None:
        for key, made in list(self._made.items()):
            if made.answer.done() and now - made.at > self._fresh:
                del self._made[key]


def _failed(answer: "asyncio.Future[T]") -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)
