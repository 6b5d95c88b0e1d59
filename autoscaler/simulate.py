"""Replay arrivals against a policy: who waits how long, and how many replicas there are.

A discrete-event simulation of one queue: invocations come, wait in order, and are run one at a time
by each replica; `autoscaler.policy.decide`, which decides here and follows KEDA and the HPA,
decides about replicas, which take time to start.  Between two decisions only arrivals and ends of
runs happen, and those are one tight loop.

Not in it: retries, timeouts and priorities, replicas that die, batching and the pipelining of very
short functions, the time of gateway and broker, and other functions that want the same GPUs.
"""

from dataclasses import replace
from heapq import heappop, heappush, heapreplace
from math import floor, inf
from random import Random

from autoscaler.policy import Memory, Observation, decide
from autoscaler.replica_set import ReplicaSet
from autoscaler.scene import Scene, settling
from autoscaler.simulated import Change, Simulated
from autoscaler.timeline import Moment, Timeline
from runtime.errors import ConfigurationError

BUCKETS = 1000  # of the timeline, about


def simulate(scene: Scene) -> Simulated:
    """Play a scene to its end; the same scene always ends alike."""
    if len(scene.arrivals) != len(scene.runs):
        raise ConfigurationError("a scene has one run time for each arrival: give as many")
    return _Play(scene).play()


class _Play:
    """One scene while it is played.

    Invocations are taken in the order in which they come, so a queue is two numbers: how many have
    come, and how many have begun.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene, self._policy = scene, scene.policy
        self._local = scene.engine == "local"
        self._arrivals = [*scene.arrivals, inf]
        self._count = len(scene.arrivals)
        last = scene.arrivals[-1] if scene.arrivals else 0.0
        self._until = last + settling(scene.policy) if scene.until is None else scene.until
        random = Random(scene.seed)
        self._replicas = ReplicaSet(scene, random)
        self._now = 0.0
        self._came = self._ended = self._cold = 0
        self._began: list[float] = []
        self._seconds = 0.0  # of messages
        self._seen = (0, 0)  # ready and unacknowledged messages, by the last statistics
        self._looked_at = 0  # how many had begun at the last look
        self._counted = 0  # how many had come at the last statistics
        self._rate = 0.0  # messages a second between the last two of them
        self._memory = _first_memory(scene, random)
        # When the next statistics are made; their clock is nobody's, too.
        self._statistics = random.random() * scene.statistics or inf
        self._next_look = min(self._memory.next_poll, self._memory.next_sync)
        self._changes: list[Change] = []
        self._timeline = Timeline(max(self._until, 1.0) / BUCKETS)

    def play(self) -> Simulated:
        policy, replicas = self._policy, self._replicas
        replicas.begin(policy.min_replicas if self._scene.ready is None else self._scene.ready)
        self._note()
        while not self._is_over():
            self._step()
        busy = sum(self._scene.runs[: len(self._began)])
        return Simulated(
            arrivals=self._scene.arrivals,
            began=self._began,
            runs=self._scene.runs,
            cold=self._cold,
            seconds=replicas.seconds(self._now, busy),
            most_replicas=replicas.most,
            changes=self._changes,
            timeline=self._timeline,
            message_seconds=self._seconds,
            end=self._now,
        )

    def _is_over(self) -> bool:
        return self._now >= self._until and (self._ended == self._count or self._is_stuck())

    def _is_stuck(self) -> bool:
        """Whether what waits will wait for ever: nobody comes for so little."""
        replicas = self._replicas
        there = replicas.wanted or replicas.alive or self._came < self._count
        comes = self._policy.counts_rate and self._rate > self._policy.activation
        return not there and not comes and sum(self._depth()) <= self._policy.activation

    def _step(self) -> None:
        """Go on to the next instant at which something but arrivals and ends of runs happens."""
        ready = self._replicas.next_ready
        ready = inf if ready is None else ready
        limit = min(ready, self._next_look, self._statistics)
        if self._now < self._until < limit:
            limit = self._until
        if self._serve(limit):
            self._look(woken=True)
            return
        if self._now < limit:  # something starts that did not before
            return
        if limit == self._statistics:
            self._seen = self._depth()
            self._rate = (self._came - self._counted) / self._scene.statistics
            self._counted = self._came
            self._statistics += self._scene.statistics
        if limit == ready:
            self._start_work(self._replicas.pop_ready(limit))
        elif limit == self._next_look:
            self._look(woken=False)

    def _serve(self, limit: float) -> bool:
        """Let invocations come and end until an instant; True where one came that wakes somebody.

        Until then the replicas are those there are, but for draining ones, which leave.
        """
        arrivals, runs, began = self._arrivals, self._scene.runs, self._began
        replicas = self._replicas
        running, idle, leaving = replicas.running, replicas.idle, replicas.leaving
        now, came, ended, seconds = self._now, self._came, self._ended, self._seconds
        head = len(began)
        wakes = replicas.wanted == 0 and self._scene.engine != "cluster"
        woken = False
        while True:
            arrival = arrivals[came]
            end = running[0][0] if running else inf
            if arrival < end:
                if arrival > limit:
                    break
                seconds += (arrival - now) * (came - ended)
                now = arrival
                if idle:
                    began.append(now)
                    heappush(running, (now + runs[head], idle.pop()))
                    head += 1
                elif wakes and head == came:
                    came += 1
                    woken = True
                    break
                came += 1
                continue
            if end > limit or end == inf:
                break
            seconds += (end - now) * (came - ended)
            now = end
            ended += 1
            number = running[0][1]
            if leaving and number in leaving:
                heappop(running)
                replicas.leave(number, now)
                if replicas.starting:  # what waited for its place starts: look at the clocks anew
                    limit = min(limit, now)
            elif head < came:
                began.append(now)
                heapreplace(running, (now + runs[head], number))
                head += 1
            else:
                heappop(running)
                idle.append(number)
        if not woken and limit < inf:
            seconds += (limit - now) * (came - ended)
            now = limit
        self._now, self._came, self._ended, self._seconds = now, came, ended, seconds
        return woken

    def _start_work(self, number: int) -> None:
        """A replica has become ready: it takes what has waited longest, or waits."""
        replicas, head = self._replicas, len(self._began)
        if head < self._came:
            self._cold += 1
            self._began.append(self._now)
            heappush(replicas.running, (self._now + self._scene.runs[head], number))
        else:
            replicas.idle.append(number)
        if self._local:
            self._look(woken=True)
        else:
            self._note()

    # ── decisions ─────────────────────────────────────────────────────────────────────────────

    def _look(self, *, woken: bool) -> None:
        """Decide about the number of replicas, and note what is so."""
        before, now = self._replicas.wanted, self._now
        ready, unacknowledged = self._observed(woken)
        if not self._scene.statistics:  # what has come since the last look is so, too
            self._rate, self._counted = float(self._came - self._counted), self._came
        seen = Observation(
            now=now,
            ready=ready,
            unacknowledged=unacknowledged,
            rate=self._rate,
            replicas=before,
            woken=woken,
        )
        decision, self._memory = decide(self._policy, seen, self._memory)
        if decision.replicas != before:
            self._changes.append(Change(now, before, decision.replicas, decision.reason))
            self._note()  # what was, before it changes
            self._replicas.scale(now, decision.replicas)
        self._note()
        memory = self._memory
        self._next_look = memory.next_poll
        if not self._local:
            self._next_look = min(memory.next_poll, memory.next_sync)
        comes = self._policy.counts_rate and self._rate
        if not ready + unacknowledged and not comes and decision.replicas == before:
            self._rest()

    def _observed(self, woken: bool) -> tuple[int, int]:
        """Messages as the engine sees them, ready and unacknowledged."""
        depth = self._depth()
        if self._local:
            # What came and went since the last look counts as one that still runs.
            passed = len(self._began) > self._looked_at
            self._looked_at = len(self._began)
            return depth[0], max(depth[1], int(passed))
        seen = self._seen if self._scene.statistics else depth
        # Whoever wakes a scaler knows of one message, whatever the statistics say.
        return (max(seen[0], 1), seen[1]) if woken else seen

    def _depth(self) -> tuple[int, int]:
        head = len(self._began)
        return self._came - head, head - self._ended

    def _rest(self) -> None:
        """Pass over looks that find nothing and change nothing, up to the last before an arrival.

        Where only the policy's least is there, and none of it starts or drains, nothing is
        remembered from one such look to the next.
        """
        replicas, policy = self._replicas, self._policy
        still = not replicas.starting and not replicas.leaving and sum(self._depth()) == 0
        if not still or replicas.wanted != policy.min_replicas or policy.idle_replicas is not None:
            return
        came = self._came
        if came == self._count and self._now >= self._until:
            return
        coming = min(self._arrivals[came], max(self._until, self._now))
        memory = self._memory
        poll = _last_before(memory.next_poll, policy.polling_interval, coming)
        sync = _last_before(memory.next_sync, policy.sync_interval, coming)
        self._memory = replace(memory, next_poll=poll, next_sync=sync)
        self._next_look = poll if self._local else min(poll, sync)
        self._statistics = _last_before(self._statistics, self._scene.statistics, coming)

    def _note(self) -> None:
        replicas, depth = self._replicas, self._depth()
        self._timeline.note(
            Moment(
                self._now,
                *depth,
                len(replicas.starting),
                len(replicas.idle),
                replicas.busy,
                len(replicas.leaving),
            )
        )


def _first_memory(scene: Scene, random: Random) -> Memory:
    """Clocks at any phase on a cluster; what is there at the beginning was needed until then."""
    ready = scene.policy.min_replicas if scene.ready is None else scene.ready
    start = replace(Memory.start(0.0), last_active=0.0 if ready else None)
    if scene.engine == "local":
        return start
    poll = random.random() * scene.policy.polling_interval
    return replace(start, next_poll=poll, next_sync=random.random() * scene.policy.sync_interval)


def _last_before(at: float, interval: float, limit: float) -> float:
    """The last tick of a clock up to a limit, that is due at an instant; never sooner."""
    if interval <= 0 or at == inf:
        return at
    return at + max(0, floor((limit - at) / interval)) * interval
