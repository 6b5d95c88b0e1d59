"""Who is told, and when, that a queue has become active: the thinking behind KEDA's push.

A queue is active while its backlog is above the activation value.  Whoever watches one is told at
once when that changes, and again while it stays so: KEDA may have missed it, or failed to scale.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from autoscaler.backlog import Backlogs
from runtime.errors import InvalidInput, LumbreError, NotFound

TICK = 1.0  # seconds between two comparisons of what was told with what was last seen
COMING = 2.0  # seconds after a wake within which its message is looked for
LOOK_EVERY = 0.1  # seconds between these looks
# KEDA writes the ScaledObject's status at each `true`, and checks that there are replicas.
REPEAT = 30.0  # seconds, as often as KEDA's own polls do
REPEAT_ASLEEP = 5.0  # seconds, while there are no replicas

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a ScaledObject wants to know: a trigger's metadata, read and checked."""

    queue: str
    target: float  # messages per replica
    activation: float = 0.0  # it is active above this

    @property
    def metric(self) -> str:
        """The metric's name: a segment of a URL path for the HPA, hence without dots."""
        return f"lumbre-{self.queue.replace('.', '-')}"


def read_trigger(metadata: Mapping[str, str]) -> Trigger:
    """The trigger that metadata describes; InvalidInput names the field and what it takes.

    Fields of other names are KEDA's own, such as scalerAddress, and not looked at.
    """
    queue = metadata.get("queueName", "")
    if not queue:
        raise InvalidInput("queueName", "is missing: it names a function's queue, as in matmul.gpu")
    target = _number(metadata, "value", None)
    if target <= 0:
        raise InvalidInput("value", f"is {target:g}: messages per replica must be more than 0")
    activation = _number(metadata, "activationValue", 0.0)
    if activation < 0:
        raise InvalidInput("activationValue", f"is {activation:g}: it must be 0 or more")
    return Trigger(queue, target, activation)


def _number(metadata: Mapping[str, str], name: str, default: float | None) -> float:
    text = metadata.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        raise InvalidInput(name, 'is missing: it takes a number as text, such as "5"')
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(name, f'is {text!r}: it takes a number as text, such as "5"')
    return number


@dataclass(eq=False, slots=True)
class _Watcher:
    """One who is told about a queue."""

    trigger: Trigger
    rung: asyncio.Event = field(default_factory=asyncio.Event)  # there is something to look at
    told: bool | None = None  # None: nothing yet
    told_at: float = 0.0  # loop time
    coming_until: float = 0.0  # loop time until which a message is on its way

    def wait(self, now: float, repeat: float) -> float | None:
        """Seconds until it is to be looked at again; None: when it is rung."""
        if self.told:
            return max(TICK, self.told_at + repeat - now)
        return LOOK_EVERY if now < self.coming_until else None


class Activity:
    """Watches queues for as many as ask; a watcher costs a task and no thread."""

    def __init__(self, backlogs: Backlogs) -> None:
        self._backlogs = backlogs
        self._watchers: dict[str, set[_Watcher]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._ending = False
        self.count = 0  # of watchers

    def start(self) -> None:
        """Begin to compare what watchers were told with what is seen."""
        self._ticking = asyncio.create_task(self._tick(), name="activity")

    async def close(self) -> None:
        """End every watch; those who iterate over one see its end."""
        self._ending = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.rung.set()
        if self._ticking:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    def woken(self, queue: str) -> None:
        """A message is about to go to a queue that nobody consumes; somebody's publish says so."""
        until = asyncio.get_running_loop().time() + COMING
        for watcher in self._watchers.get(queue, ()):
            watcher.coming_until = until
            watcher.rung.set()

    async def backlog(self, trigger: Trigger) -> int:
        """Messages now; NotFound for no function's queue, Unavailable where it cannot be read."""
        self.check(trigger)
        return await self._backlogs.read(trigger.queue)

    async def is_active(self, trigger: Trigger) -> bool:
        """Whether the backlog is above the activation value now; raises what `backlog` does."""
        return await self.backlog(trigger) > trigger.activation

    def check(self, trigger: Trigger) -> None:
        """NotFound where that is no function's queue, with those that there are."""
        if not self._backlogs.has(trigger.queue):
            have = ", ".join(sorted(self._backlogs.queues())) or "none"
            raise NotFound(f"no function here has a queue {trigger.queue}: there are {have}")

    async def watch(self, trigger: Trigger) -> AsyncGenerator[bool, None]:
        """Whether a queue is active: now, when that changes, and again while it is.

        Nothing comes while the backlog cannot be read.  It ends when `close` is called; NotFound
        for no function's queue.
        """
        self.check(trigger)
        watcher = _Watcher(trigger)
        self._watchers.setdefault(trigger.queue, set()).add(watcher)
        self.count += 1
        try:
            while not self._ending:
                watcher.rung.clear()
                active = await self._seen(trigger)
                if active is not None and self._news(watcher, active):
                    yield active
                await self._pause(watcher)
        finally:
            self._leave(watcher)

    def _news(self, watcher: _Watcher, active: bool) -> bool:
        """Note what is seen, and whether the watcher is to be told."""
        now = asyncio.get_running_loop().time()
        due = now >= watcher.told_at + self._repeat(watcher.trigger.queue)
        if active == watcher.told and not (active and due):
            return False
        if active != watcher.told:
            log.info(
                "queue=%s is %s for KEDA", watcher.trigger.queue, "active" if active else "at rest"
            )
        watcher.told, watcher.told_at = active, now
        return True

    async def _pause(self, watcher: _Watcher) -> None:
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(watcher.wait(now, self._repeat(watcher.trigger.queue))):
                await watcher.rung.wait()
        except TimeoutError:
            return

    def _repeat(self, queue: str) -> float:
        return REPEAT_ASLEEP if self._backlogs.asleep(queue) else REPEAT

    async def _seen(self, trigger: Trigger) -> bool | None:
        try:
            return await self._backlogs.read(trigger.queue) > trigger.activation
        except LumbreError as error:
            log.debug("queue=%s cannot be read for KEDA: %s", trigger.queue, error)
            return None

    def _leave(self, watcher: _Watcher) -> None:
        queue = watcher.trigger.queue
        self.count -= 1
        self._watchers[queue].discard(watcher)
        if not self._watchers[queue]:
            del self._watchers[queue]

    async def _tick(self) -> None:
        """Ring where something else was seen: no publish tells of a retry, and signals get lost."""
        while True:
            await asyncio.sleep(TICK)
            seen = self._backlogs.glimpses()
            for queue, watchers in self._watchers.items():
                for watcher in watchers:
                    if (seen.get(queue, 0) > watcher.trigger.activation) is not watcher.told:
                        watcher.rung.set()
