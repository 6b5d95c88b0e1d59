"""Calls onto connections: each call leaves on a free connection, or is held until there is one.

Connections are kept and made as they are needed, up to a number.  A server that is gone is tried
again at a pace that rises to once a second, and every call that was waiting for such a try fails
with it; so there is no busy loop, and no call that a caller would have seen fail goes uncounted.
"""

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from loadtest.address import Address
from loadtest.answer import Answer
from loadtest.connection import Connection, clock
from loadtest.faults import NoAnswer
from loadtest.request import Request
from loadtest.turn import Turn

SWEEP = 0.05  # seconds between two looks for what has waited too long
REST = 2.0  # seconds a connection may be unused: less than servers wait (uvicorn: 5)
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds until the next try to connect
CONNECT = 10.0  # seconds a connection may take to be made


@dataclass(slots=True, eq=False)
class Call:
    """A request on its way, from its intended time through every retry to its end."""

    request: Request
    intended: float  # nan: when it is sent (closed loops)
    user: "User | None" = None  # who sends the next one when it has ended (closed loops)
    sent: float = math.nan  # the latest time
    held: float = 0.0  # since then, if it is
    tries: int = 0


class User(Protocol):
    """One who sends a request when the one before has ended."""

    def next(self, now: float) -> None: ...


class Watcher(Protocol):
    """Who is told what becomes of calls."""

    def sent(self, call: Call, now: float) -> None: ...

    def answered(self, call: Call, answer: Answer, now: float) -> None: ...

    def failed(self, call: Call, error: Exception, now: float) -> None: ...

    def capped(self) -> None:
        """A call is held because no more connections may be open."""


class Pool:
    """The connections to one server, and the calls that wait for one."""

    def __init__(self, address: Address, most: int, timeout: float, watcher: Watcher) -> None:
        self.most = most
        self.peak = 0  # most connections that were open at once
        self.answered_at: float | None = None  # the latest time
        self.failing_since: float | None = None  # nothing was answered since then, and calls fail
        self._address = address
        self._timeout = timeout
        self._watcher = watcher
        self._calls: dict[Connection, Call] = {}  # in flight
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []  # the latest used is used next
        self._held: deque[Call] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._pause = 0.0
        self._resume = 0.0  # no try to connect before
        self._loop = asyncio.get_running_loop()
        self._turn = Turn(self._loop)
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)
        self._closed = False

    @property
    def waiting(self) -> int:
        """Calls that were sent and are not answered."""
        return len(self._calls)

    @property
    def held(self) -> int:
        """Calls that no connection was free for."""
        return len(self._held)

    def submit(self, call: Call) -> None:
        """Send a call as soon as there is a connection for it."""
        while self._idle:
            connection = self._idle.pop()
            if connection.free:
                self._send(connection, call)
                return
        call.held = clock()
        self._held.append(call)
        self._grow()

    def withdraw(self) -> int:
        """Forget the calls that were not sent; says how many."""
        count = len(self._held)
        self._held.clear()
        return count

    async def close(self) -> None:
        """Close every connection; what is in flight is told to nobody."""
        self._closed = True
        self._sweeper.cancel()
        self._held.clear()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._open:
            connection.close()
        self._calls.clear()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    # ── told by connections ───────────────────────────────────────────────────────────────────

    def answered(self, connection: Connection, answer: Answer, at: float) -> None:
        call = self._calls.pop(connection)
        self.answered_at, self.failing_since = at, None
        if self._pause:
            self._pause = self._resume = 0.0
            self._loop.call_soon(self._grow)
        if connection.gone:
            self._open.discard(connection)
            if self._held:
                self._grow()
        else:
            self._ready(connection)
        self._watcher.answered(call, answer, at)

    def lost(self, connection: Connection, error: Exception, at: float) -> None:
        self._open.discard(connection)
        call = self._calls.pop(connection, None)
        if call is None:
            return  # it was idle, and servers may end that
        if not isinstance(error, NoAnswer):
            self._back_off(at)
        self._fail(call, error, at)
        self._grow()

    # ──────────────────────────────────────────────────────────────────────────────────────────

    def _ready(self, connection: Connection) -> None:
        """A connection is free, if it has not been closed meanwhile."""
        if not connection.free:
            self._grow()
        elif self._held:
            self._send(connection, self._held.popleft())
        else:
            self._idle.append(connection)

    def _send(self, connection: Connection, call: Call) -> None:
        now = clock()
        if call.intended != call.intended:
            call.intended = now
        call.sent = now
        call.tries += 1
        self._calls[connection] = call
        connection.send(call.request.encode(self._address.authority, self._address.key))
        self._watcher.sent(call, now)

    def _fail(self, call: Call, error: Exception, now: float) -> None:
        if self.failing_since is None:
            began = call.sent if isinstance(error, NoAnswer) and call.tries else now
            self.failing_since = max(began, self.answered_at or began)
        if call.intended != call.intended:
            call.intended = now
        self._watcher.failed(call, error, now)

    def _grow(self) -> None:
        """Make connections for what is held, as far as that is allowed."""
        while len(self._connecting) < len(self._held) and not self._closed:
            if len(self._open) + len(self._connecting) >= self.most:
                self._watcher.capped()
                return
            if clock() < self._resume:
                return  # the sweep comes back to it
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)

    async def _connect(self) -> None:
        connection, address, began = Connection(self, self._turn), self._address, clock()
        error: Exception | None = None
        try:
            async with asyncio.timeout(min(CONNECT, self._timeout)):
                await self._loop.create_connection(
                    lambda: connection,
                    address.host,
                    address.port,
                    ssl=address.tls,
                    server_hostname=address.name if address.tls else None,
                )
        except TimeoutError:
            error = NoAnswer("no connection within the plan's timeout")
        except OSError as failure:
            error = failure
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._connecting.discard(task)
        if error is not None:
            self._not_connected(error, began)
        else:
            self._open.add(connection)
            self.peak = max(self.peak, len(self._open))
            self._ready(connection)

    def _not_connected(self, error: Exception, began: float) -> None:
        """A try to connect has failed, and the calls that have waited since it began with it."""
        now = clock()
        self._back_off(now)
        failed: list[Call] = []
        while self._held and self._held[0].held <= began:
            failed.append(self._held.popleft())
            if self._open:
                break  # those that are open will come to what else is held
        for call in failed:
            self._fail(call, error, now)

    def _back_off(self, now: float) -> None:
        """Wait before the next try; failures of the same moment count once."""
        if now >= self._resume:
            self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
            self._resume = now + self._pause

    def _sweep(self) -> None:
        now = clock()
        late = [c for c, call in self._calls.items() if now - call.sent > self._timeout]
        for connection in late:
            connection.give_up(NoAnswer(f"no whole answer within {self._timeout:g} s"))
        while self._idle and now - self._idle[0].idle_since > REST:
            connection = self._idle.pop(0)  # the one that rests longest
            self._open.discard(connection)
            connection.close()
        if self._held:
            self._grow()
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)
