"""Scale replica processes on this machine: observe, decide, scale.

One loop for each function and device.  It polls, and is woken by a publish to an empty queue and by
a replica that has become ready, so that 0 → 1 → n happens at once.  What is decided, and why, goes
to `on_decision`.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from autoscaler.policy import Decision, Memory, Observation, Policy, decide
from runtime.devices import Machine
from runtime.errors import LumbreError
from runtime.ledger import ScalingDecision
from runtime.model import Depth, Device
from runtime.pool import Pool

Key = tuple[str, Device]

log = logging.getLogger(__name__)


class LocalScaler:
    """Keeps every pool at the size its policy decides."""

    def __init__(
        self,
        machine: Machine,
        depth: Callable[[str], Awaitable[Depth]],
        on_decision: Callable[[ScalingDecision], None],
    ) -> None:
        self.reasons: dict[Key, str] = {}  # of the latest decision
        self.directions: dict[Key, Counter[str]] = {}  # how often it went up and down
        self._machine = machine
        self._depth = depth
        self._on_decision = on_decision
        self._loops: dict[Key, asyncio.Task[None]] = {}
        self._wakes: dict[str, asyncio.Event] = {}  # by queue
        self._pools: dict[str, Pool] = {}  # by queue
        self._called: set[str] = set()  # queues that a message is on its way to

    def take(self, pool: Pool) -> None:
        """Scale a pool from now on; taking it again, after a reload, follows its new policy."""
        key = (pool.spec.name, pool.device)
        if key in self._loops:
            self._loops[key].cancel()
        self.directions.setdefault(key, Counter(up=0, down=0))
        wake = self._wakes.setdefault(pool.queue, asyncio.Event())
        self._pools[pool.queue] = pool
        self._loops[key] = asyncio.create_task(self._run(pool, key, wake))

    def leave(self, key: Key) -> None:
        """Scale a pool no more."""
        if loop := self._loops.pop(key, None):
            loop.cancel()

    def activate(self, queue: str) -> None:
        """Look at a queue now if it has no replicas: a message came while it was empty.

        Called for every message that finds its queue empty, so it must cost nothing otherwise.
        The call may be here before the message can be counted: it stands for one.
        """
        pool = self._pools.get(queue)
        if pool is not None and not pool.wanted:
            self._called.add(queue)
            self._wakes[queue].set()

    def wake(self, queue: str) -> None:
        """Look at a queue now: one of its replicas became ready."""
        if wake := self._wakes.get(queue):
            wake.set()

    async def close(self) -> None:
        for loop in self._loops.values():
            loop.cancel()
        await asyncio.gather(*self._loops.values(), return_exceptions=True)
        self._loops.clear()

    async def _run(self, pool: Pool, key: Key, wake: asyncio.Event) -> None:
        scaling = pool.spec.scaling[pool.device]
        most = self._machine.max_replicas(pool.device, scaling.max_replicas)
        policy = Policy.of(scaling, most)
        memory = Memory.start(time.monotonic())
        woken = False
        while True:
            wake.clear()
            try:
                observation = await self._observe(pool, woken)
            except LumbreError as error:  # the broker is away: what runs goes on as it is
                log.debug("queue=%s cannot be looked at: %s", pool.queue, error)
            else:
                decision, memory = decide(policy, observation, memory)
                self._act(pool, key, decision, observation.ready + observation.unacknowledged)
            try:
                # Not wait_for: in Python 3.11 it drops a cancellation that comes as it is woken.
                async with asyncio.timeout(policy.polling_interval):
                    await asyncio.sleep(0)  # the others have their turn, however often it is woken
                    await wake.wait()
                woken = True
            except TimeoutError:
                woken = False

    async def _observe(self, pool: Pool, woken: bool) -> Observation:
        """What is so now; what came and went since the last look counts as one that still runs.

        A poll would not see short invocations otherwise, and take a busy function to zero.
        """
        depth = await self._depth(pool.queue)
        passed, pool.active = pool.active, False
        called = pool.queue in self._called
        self._called.discard(pool.queue)
        return Observation(
            now=time.monotonic(),
            ready=max(depth.ready, int(called)),
            unacknowledged=max(depth.unacknowledged, int(passed)),
            replicas=pool.wanted,
            woken=woken,
        )

    def _act(self, pool: Pool, key: Key, decision: Decision, backlog: int) -> None:
        self.reasons[key] = decision.reason
        before = pool.wanted
        if decision.replicas != before:
            self.directions[key]["up" if decision.replicas > before else "down"] += 1
            self._on_decision(
                ScalingDecision(
                    at=time.time(),
                    function=pool.spec.name,
                    device=pool.device,
                    before=before,
                    after=decision.replicas,
                    reason=decision.reason,
                    backlog=backlog,
                )
            )
        pool.scale(decision.replicas)
