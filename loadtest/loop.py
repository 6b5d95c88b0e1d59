"""The loops of a load test: each sends one stage of a plan, at its own times.

A loop knows when requests are due; the client has the connections, and counts what comes of them.
"""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from loadtest.arrivals import Arrival, arrivals, replayed
from loadtest.connection import clock
from loadtest.mix import Mix
from loadtest.plan import Plan
from loadtest.pool import Call, Pool
from loadtest.stage import Closed, OpenStage, Replay
from loadtest.tally import Tally
from loadtest.timers import Timers
from loadtest.trace import read_trace


class Sender(Protocol):
    """What a loop sends through: the client."""

    over: bool  # nothing more is to be sent
    timers: Timers
    tally: Tally
    pool: Pool


class OpenLoop:
    """Sends requests when they are due, whatever became of those before.

    `over` is set where the stage ends with its last request, as a trace does.
    """

    def __init__(self, client: Sender, due: Iterator[Arrival], ends_early: bool) -> None:
        self.over = asyncio.Event()
        self.ended_at = 0.0  # the latest request was due
        self._client = client
        self._due = due
        self._ends_early = ends_early
        self._began = 0.0
        self._coming: Arrival | None = None

    @property
    def unsent(self) -> bool:
        """Whether there is more to come."""
        return self._coming is not None

    def start(self, at: float) -> None:
        self._began = self.ended_at = at
        self._advance()

    def _advance(self) -> None:
        """Wait for the next request to be due."""
        self._coming = next(self._due, None)
        if self._coming is not None:
            self.ended_at = self._began + self._coming.at
            self._client.timers.at(self.ended_at, self._send)
        elif self._ends_early:
            self.over.set()

    def _send(self) -> None:
        coming, client = self._coming, self._client
        if coming is None or client.over:
            return
        intended = self.ended_at
        client.tally.due(intended, clock())
        client.pool.submit(Call(coming.request, intended))
        self._advance()


class ClosedLoop:
    """So many users, each of whom sends when the answer to the request before has come.

    `over` is set once none of them sends any more.
    """

    unsent = False  # what they would send is due only when they do

    def __init__(self, client: Sender, stage: Closed, mix: Mix) -> None:
        self.over = asyncio.Event()
        self.ended_at = 0.0
        self.client = client
        self.mix = mix
        self.think = stage.think
        self._stage = stage
        self._end = 0.0
        self._left = stage.requests
        self._users = stage.connections

    def start(self, at: float) -> None:
        self._end = at + self._stage.seconds
        for _ in range(self._stage.connections):
            User(self).send(clock())

    def take(self, now: float) -> bool:
        """Whether one more request is to be sent."""
        if self.client.over or now >= self._end or self._left == 0:
            self._users -= 1
            if not self._users:
                self.ended_at = min(now, self._end)
                self.over.set()
            return False
        if self._left is not None:
            self._left -= 1
        return True


class User:
    """Sends one request after the other."""

    __slots__ = ("_loop",)

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop

    def next(self, now: float) -> None:
        """The answer is there, or the fault."""
        think = self._loop.think
        if think:
            due = now + think
            self._loop.client.timers.at(due, lambda: self.send(due))
        else:
            self.send(now)

    def send(self, due: float) -> None:
        loop, client = self._loop, self._loop.client
        now = clock()
        if loop.take(now):
            client.tally.due(due, now)
            client.pool.submit(Call(loop.mix.next(), float("nan"), self))


Loop = OpenLoop | ClosedLoop


def loops(client: Sender, plan: Plan, folder: Path) -> tuple[list[Loop], list[str]]:
    """A loop for each stage, and what a reader must know of them; traces and files are read here.

    Each stage draws from a mix of its own, so that what a closed loop sends, which depends on the
    server, changes nothing of what the stages after it send.
    """
    notes: list[str] = []
    made: list[Loop] = []
    for number, stage in enumerate(plan.stages):
        mix = Mix(plan.mix, plan.rng(f"mix {number}"), folder) if plan.mix else None
        rng = plan.rng(f"stage {number}")
        made.append(_loop(client, stage, mix, rng, folder, notes))
    return made, notes


def _loop(
    client: Sender,
    stage: Closed | OpenStage,
    mix: Mix | None,
    rng: random.Random,
    folder: Path,
    notes: list[str],
) -> Loop:
    if isinstance(stage, Closed):
        assert mix is not None  # the plan has seen to it
        return ClosedLoop(client, stage, mix)
    if isinstance(stage, Replay):
        trace = read_trace(folder / stage.trace)
        if trace.note:
            notes.append(trace.note)
        return OpenLoop(client, replayed(stage, trace), ends_early=True)
    return OpenLoop(client, arrivals(stage, mix, rng, folder), ends_early=False)
