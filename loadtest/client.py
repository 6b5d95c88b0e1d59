"""Sends the load of a plan, stage after stage, in open and closed loops.

Latency runs from the instant at which a request was meant to be sent to the last byte of its
answer.  In an open loop requests are due whatever the server does, so a server that stalls makes
every request wait that was due meanwhile, and all of that waiting is counted; measured from the
time of sending it would go missing (coordinated omission: Gil Tene, "How NOT to Measure Latency",
2013; his wrk2).  In a closed loop a request is meant to be sent when it is.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loadtest import faults
from loadtest.address import Address
from loadtest.answer import Answer, phases, retry_after
from loadtest.connection import clock
from loadtest.loop import loops
from loadtest.plan import Plan
from loadtest.pool import Call, Pool
from loadtest.stage import Closed
from loadtest.tally import Ending, Tally
from loadtest.timers import Timers

LONGEST_SILENCE, SHORTEST_SILENCE = 30.0, 5.0  # seconds after which a failing server counts as gone
GRACE = 5.0  # seconds that answers may take after the load test was stopped
LOOK = 0.1  # seconds between two looks at the whole
OVER = 0.01  # seconds between two looks whether the last answers are there


@dataclass(frozen=True, slots=True)
class Ended:
    """How a load ended."""

    seconds: float
    interrupted: str | None
    unanswered: int


class Client:
    """Runs one plan against one server; must be made on a running loop.

    `silence`: seconds without any answer, while calls fail, after which the load ends.
    """

    def __init__(
        self, plan: Plan, address: Address, folder: Path, silence: float | None = None
    ) -> None:
        self.plan = plan
        self.stage = 0  # the one that runs, from 0
        self._loops, self.notes = loops(self, plan, folder)  # which may find the plan wanting
        self.timers = Timers()
        self.over = False  # nothing more is to be sent
        self.draining = False  # all was sent, and the last answers are to come
        self._address = address
        self._silence = silence or min(LONGEST_SILENCE, max(SHORTEST_SILENCE, plan.timeout))
        most = max([plan.connections, *_closed_connections(plan)])
        self.pool = Pool(address, most, plan.timeout, self)
        self.delayed = 0  # calls that a 429 makes wait
        self._reason: str | None = None
        self._halt = asyncio.Event()  # the load ends before its end
        self.tally: Tally

    @property
    def held(self) -> int:
        """Requests that are due, and that cannot be sent yet."""
        return self.pool.held + self.delayed

    async def run(
        self,
        stop: asyncio.Event | None = None,
        hurry: asyncio.Event | None = None,
        began: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Send the whole load and wait for the answers; `tally` has what came of it.

        `stop` ends it early, and `hurry` the waiting for what is in flight then.  `began` is
        called once the load begins.
        """
        start = clock()
        self.tally = Tally(start, lambda: (self.pool.waiting, self.held))
        began()
        guard = asyncio.create_task(self._guard(stop or asyncio.Event()))
        try:
            await self._send_all()
            return await self._drain(hurry or asyncio.Event())
        finally:
            guard.cancel()
            await asyncio.gather(guard, return_exceptions=True)
            self.timers.close()
            await self.pool.close()

    # ── told by the pool ──────────────────────────────────────────────────────────────────────

    def sent(self, call: Call, now: float) -> None:
        self.tally.sent(now)

    def capped(self) -> None:
        self.tally.capped()

    def answered(self, call: Call, answer: Answer, now: float) -> None:
        status = faults.SUCCEEDED if answer.status == 200 else faults.of_answer(answer)
        if answer.status == 429:
            self.tally.throttle(now)
            if call.tries <= self.plan.retries and not self._halt.is_set():
                self._delay(call, answer, now)
                return
        headers = answer.headers
        device = headers.get(b"invocation-device")
        timing = headers.get(b"server-timing")
        good = status == faults.SUCCEEDED or status == faults.ACCEPTED
        end = Ending(
            function=call.request.function,
            device=call.request.device if device is None else device.decode("latin-1"),
            simulated=headers.get(b"invocation-simulated") == b"true",
            status=status,
            total=max(0.0, now - call.intended),
            phases=() if timing is None else phases(timing),
        )
        if not good:
            end.example, end.invocation = answer.said, answer.text(b"invocation-id")
        self.tally.ended(end, now, fault=status not in faults.NO_FAULTS)
        if call.user is not None:
            call.user.next(now)

    def failed(self, call: Call, error: Exception, now: float) -> None:
        request = call.request
        end = Ending(
            function=request.function,
            device=request.device,
            simulated=False,
            status=faults.of_error(error),
            total=now - call.intended,
            phases=(),
            example=faults.told(error),
        )
        self.tally.ended(end, now, fault=True)
        if call.user is not None:
            call.user.next(now)

    # ──────────────────────────────────────────────────────────────────────────────────────────

    def _delay(self, call: Call, answer: Answer, now: float) -> None:
        """Send a call again when the server said."""
        asked = retry_after(answer.text(b"retry-after"), datetime.now(UTC))
        self.delayed += 1

        def again() -> None:
            self.delayed -= 1
            self.pool.submit(call)

        self.timers.at(now + min(asked, self.plan.timeout), again)

    async def _send_all(self) -> None:
        at = self.tally.began
        for number, (stage, loop) in enumerate(zip(self.plan.stages, self._loops, strict=True)):
            self.stage = number
            end = None if stage.length is None else at + stage.length
            loop.start(at)
            await self._until(end, loop.over)
            if self._halt.is_set():
                return
            # The plan says when the next stage begins, not the moment at which this line is run.
            at = loop.ended_at if loop.over.is_set() or end is None else end

    async def _until(self, end: float | None, over: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (over, self._halt)]
        timeout = None if end is None else max(0.0, end - clock())
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _drain(self, hurry: asyncio.Event) -> Ended:
        """Wait for what is under way: all of it, or what comes soon where the load was stopped."""
        self.draining = True
        latest = clock() + self.plan.timeout
        while self._under_way() and clock() < latest and not self._halt.is_set():
            await asyncio.sleep(OVER)
        self.over = True
        unanswered = self.delayed + self.pool.withdraw()
        self.timers.close()
        latest = clock() + GRACE
        while self.pool.waiting and clock() < latest and not hurry.is_set():
            await asyncio.sleep(OVER)
        end = clock()
        self.tally.finish(end)
        return Ended(end - self.tally.began, self._reason, unanswered + self.pool.waiting)

    def _under_way(self) -> int:
        return self.pool.waiting + self.held + sum(loop.unsent for loop in self._loops)

    async def _guard(self, stop: asyncio.Event) -> None:
        """Close seconds in which nothing happens, and end the load where there is a reason."""
        while not self._halt.is_set():
            await asyncio.sleep(LOOK)
            now = clock()
            self.tally.tick(now)
            since = self.pool.failing_since
            if stop.is_set():
                asked = self.plan.length
                of = "" if asked is None else f" of {asked:,.0f} s"
                self._end(f"it was stopped after {now - self.tally.began:,.1f} s{of}")
            elif since is not None and now - since >= self._silence:
                second = (self.pool.answered_at or self.tally.began) - self.tally.began
                where = self._address.url
                self._end(f"the server at {where} has not answered since second {second:.0f}")

    def _end(self, reason: str) -> None:
        self._reason = reason
        self.over = True
        self._halt.set()


def _closed_connections(plan: Plan) -> Iterator[int]:
    return (stage.connections for stage in plan.stages if isinstance(stage, Closed))
