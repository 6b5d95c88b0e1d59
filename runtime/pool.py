"""The replicas of one function on one device: deliveries in, outcomes out.

A pool keeps as many replicas as it is told to (`scale`), hands each delivery to the one with the
least in hand, and tells a `Reporter` what became of it.  It decides about attempts: what is
retried, what is given up on.  It never decides how many replicas there should be.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Any, Protocol

from runtime.brokers import Consumer, Delivery, Source
from runtime.departures import Departures, how_it_ended
from runtime.devices import SIMULATED, GpuSlots
from runtime.function import Batching, FunctionSpec
from runtime.lifeline import ReplicaLife
from runtime.model import (
    JSON,
    Device,
    Failure,
    Message,
    Outcome,
    Part,
    ReplicaCounts,
    Status,
    queue_name,
)
from runtime.process import Job, Lease, ReplicaProcess, State
from runtime.quarantine import IN_A_ROW, Quarantine
from runtime.zygote import Zygote, ZygoteGone, ending

GIVEN_BACK_LIMIT = 20  # deliveries of one invocation, whoever dies
TICK = 0.1  # seconds between two looks at deadlines and memory, while something runs
BUSY_WINDOW = 0.02  # seconds of work a replica may have waiting in its socket
TOGETHER = 0.001  # seconds of work that goes to one replica before the next is woken
MAX_PIPELINE = 64  # jobs in one replica's hands, for functions well under a millisecond
SAMPLES_BEFORE_PIPELINE = 20
MAX_BACKOFF = 60.0  # seconds between two tries to start a replica that dies while starting
# The same input gives the same again.
NEVER_RETRIED = frozenset(("InvalidInput", "ResultTooLarge", "ResultNotSerializable"))
START_TIMEOUT = 600.0  # seconds that setting up a replica may take
LAST_OUTPUT = 2048  # bytes of output kept with the error of a replica that died
_ITS_DEATH = (None, "memory", "timeout")  # what a replica was killed for that may be its fault

log = logging.getLogger(__name__)


class Reporter(Protocol):
    """Whom a pool tells what becomes of its deliveries.

    The pool settles a delivery only after `finished`, `retried` or `given_up` returned: the outcome
    comes before the ack.
    """

    def started(self, message: Message, process: ReplicaProcess, at: float) -> None: ...
    def progressed(self, message: Message, event: bytes) -> None: ...
    def wrote(self, message: Message, data: bytes) -> None: ...
    def retried(
        self,
        message: Message,
        process: ReplicaProcess,
        error: Failure,
        started_at: float,
        *,
        counted: bool = True,
    ) -> None: ...
    def given_up(self, message: Message, error: Failure) -> None: ...
    def finished(self, message: Message, process: ReplicaProcess, outcome: Outcome) -> None: ...


class Pool:
    """Replicas of one function on one device."""

    def __init__(
        self,
        spec: FunctionSpec,
        device: Device,
        *,
        broker: Source,
        reporter: Reporter,
        zygote: Callable[[FunctionSpec], Awaitable[Zygote]],
        slots: GpuSlots,
        order: dict[str, Any],
        memory_limit: int,
    ) -> None:
        self.spec = spec
        self.device = device
        self.queue = queue_name(spec.name, device)
        self.replicas: list[ReplicaProcess] = []
        self.wanted = 0
        self.trouble: str | None = None  # why replicas do not start, in words
        self.failed_starts = 0  # in a row
        self.cold_starts = 0
        self.active = False  # something was handed over since the autoscaler last looked
        self.starved = False  # it wants a GPU slot, and all are taken
        self.on_change: Callable[[Pool], None] = lambda _: None
        self.on_starved: Callable[[Pool], None] = lambda _: None
        self.on_doubt: Callable[[Pool], None] = lambda _: None  # one fails, and nobody here knows
        self.on_taken_out: Callable[[Pool, str], None] = lambda pool, why: None
        self.quarantine = Quarantine()
        self._broker = broker
        self._reporter = reporter
        self._zygote = zygote
        self._slots = slots
        self._order = order
        self._memory = memory_limit  # bytes, unless the function says otherwise
        self._consumer: Consumer | None = None
        self._starting: set[asyncio.Task[None]] = set()
        self._numbers = count(1)
        self._gathered: list[Delivery] = []  # for the next batch
        self._gathering: asyncio.TimerHandle | None = None  # until it goes as it is
        self._tick: asyncio.TimerHandle | None = None
        self._retry_start: asyncio.TimerHandle | None = None
        self._not_before = 0.0  # loop time of the next allowed start
        self._slowest = 0.0  # seconds; decaying maximum of run times
        self._typical = 0.0  # seconds; moving average of run times
        self._samples = 0
        self._chatty = False  # it writes output, which is told apart only one job at a time
        self._pipeline = 1
        self._closing = False
        self._departures = Departures()

    # ── how many ──────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Begin to consume; deliveries come once there is a replica to take them."""
        self._consumer = await self._broker.consume(self.queue, 0, self._receive)

    def counts(self) -> ReplicaCounts:
        states = [(p.state, bool(p.jobs)) for p in self.replicas]
        return ReplicaCounts(
            starting=sum(s is State.STARTING for s, _ in states),
            ready=sum(s is State.READY and not busy for s, busy in states),
            busy=sum(s is State.READY and busy for s, busy in states),
            draining=sum(s is State.DRAINING for s, _ in states),
        )

    def lives(self) -> list[ReplicaLife]:
        """Its replicas and what they did, and those that ended in the last seconds."""
        return self._departures.lives(self.replicas, self.spec.name, self.device)

    def scale(self, wanted: int, why: str = "scaled in") -> None:
        """Have that many replicas: start more, or let idle ones go and drain busy ones.

        `why` replicas go is told of those that do.
        """
        self.wanted = wanted
        excess = self.counts().running - wanted
        if excess > 0:
            running = [p for p in self.replicas if p.state in (State.STARTING, State.READY)]
            for process in sorted(running, key=lambda p: (p.load, p.state is State.READY))[:excess]:
                self._let_go(process, why)
            self._set_capacity()
        self._fill()

    def yield_slot(self) -> None:
        """Let one replica go, an idle one if there is one: another pool needs its GPU."""
        why = "scaled in: another function needed its GPU slot"
        self.scale(max(0, self.counts().running - 1), why)

    def replace(self, spec: FunctionSpec) -> None:
        """Go on with another version of the function; what runs is finished by the old one."""
        self.spec = spec
        self.failed_starts, self.trouble, self._not_before = 0, None, 0.0
        self._samples, self._slowest, self._typical, self._pipeline = 0, 0.0, 0.0, 1
        for process in list(self.replicas):
            self._let_go(process, "replaced by another version of the function")
        self._set_capacity()
        self._fill()

    async def drain(self, grace: float) -> None:
        """Take nothing new, let what runs finish within `grace` seconds, end every replica.

        What is still running then goes back to its queue, uncounted.
        """
        self._closing = True
        self.wanted = 0
        if self._consumer:
            await self._consumer.close()
        if self._retry_start:
            self._retry_start.cancel()
        for process in list(self.replicas):
            self._let_go(process, "its worker ended")
        self._take_gathered()
        deadline = asyncio.get_running_loop().time() + grace
        while self.replicas and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        for process in self.replicas:
            process.kill("drain")
        while self.replicas:
            await asyncio.sleep(0.02)
        if self._tick:
            self._tick.cancel()

    def cancel(self, invocation: str) -> bool:
        """Stop an invocation that a replica has in hand; False if none has it.

        The function is told first (`context.cancelled`) and killed half a second later.
        """
        for delivery in self._gathered:
            if delivery.message.id == invocation:
                self._gathered.remove(delivery)
                delivery.ack()
                return True
        for process in self.replicas:
            for job in process.jobs:
                if lease := job.leases.get(invocation):
                    lease.reported = True
                    if len(job.leases) == 1:
                        process.revoke(job)
                    if job is process.running() and len(job.leases) == 1:
                        process.cancel(job)
                        loop = asyncio.get_running_loop()
                        loop.call_later(0.5, self._kill_if_still, process, job, "cancel")
                    return True
        return False

    # ── deliveries in ─────────────────────────────────────────────────────────────────────────

    def _receive(self, delivery: Delivery) -> None:
        if delivery.message.attempt > self._limit():
            self._give_up_on(delivery)
        elif self.spec.batching:
            self._gather(delivery, self.spec.batching)
        else:
            self._take([delivery])

    def _limit(self) -> int:
        """Deliveries of one invocation, whoever died with them."""
        retries = self.spec.retries
        return max(GIVEN_BACK_LIMIT, self.spec.max_attempts, retries.max_attempts if retries else 0)

    def _give_up_on(self, delivery: Delivery) -> None:
        """Whoever had it died each time, and perhaps of it."""
        text = f"its worker ended in each of {delivery.message.attempt - 1} attempts"
        self._reporter.given_up(delivery.message, Failure("WorkerDied", text))
        delivery.reject(text)

    def _gather(self, delivery: Delivery, batching: Batching) -> None:
        """Gather deliveries until a batch is full or its first has waited long enough.

        One that was attempted before runs alone: whatever killed its batch may be in it.
        """
        if delivery.message.attempt > 1:
            self._take_gathered()
            self._take([delivery])
            return
        self._gathered.append(delivery)
        if len(self._gathered) >= batching.max_size:
            self._take_gathered()
        elif self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(batching.max_wait, self._take_gathered)

    def _take_gathered(self) -> None:
        if self._gathering:
            self._gathering.cancel()
            self._gathering = None
        batch, self._gathered = self._gathered, []
        if batch:
            self._take(batch)

    def _take(self, deliveries: list[Delivery]) -> None:
        """Hand deliveries to a replica together; back to the queue where there is none."""
        process = self._pick()
        if process is None:
            for delivery in reversed(deliveries):
                delivery.requeue(counted=False)
            self._set_capacity()
        elif self.spec.batching or len(deliveries) == 1:
            self._hand_over(process, deliveries)
        else:  # they were gathered for a version that was batched
            for delivery in deliveries:
                self._take([delivery])

    def _pick(self) -> ReplicaProcess | None:
        """The replica to give a job to: the least loaded, but very short jobs go together.

        Waking a second process costs more than a fraction of a millisecond spent behind others.
        One that fails time after time comes last, so that others can show whether it is to blame.
        """
        ready = [p for p in self.replicas if p.state is State.READY]
        if len(ready) < 2:
            return ready[0] if ready else None
        if self._pipeline > 1:
            for process in ready:
                load = len(process.jobs)
                short = load < self._pipeline and load * self._typical < TOGETHER
                if short and process.conduct.in_a_row < IN_A_ROW:
                    return process
        return min(ready, key=lambda p: (len(p.jobs), p.conduct.in_a_row >= IN_A_ROW))

    def _hand_over(self, process: ReplicaProcess, deliveries: list[Delivery]) -> None:
        self.active = True
        now = time.time()
        leases = {d.message.id: Lease(d, now) for d in deliveries}
        deadline = now + self.spec.timeout * (process.load + 1)
        if self.spec.batching:
            headers, bodies = [], []
            for delivery in deliveries:
                headers.append(self._header(delivery.message, deadline))
                bodies.append(delivery.message.payload.parameters or b"")
            process.send(Job(leases), {"batch": headers}, *bodies)
        else:
            message = deliveries[0].message
            payload = message.payload
            inline = [part.data for part in payload.parts if part.data is not None]
            header = self._header(message, deadline)
            process.send(Job(leases), header, payload.parameters or b"", *inline)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(TICK, self._watch)

    def _header(self, message: Message, deadline: float) -> dict[str, Any]:
        payload = message.payload
        header: dict[str, Any] = {
            "id": message.id,
            "attempt": message.attempt,
            "deadline": deadline,
            "parameters": len(payload.parameters or b""),
        }
        if message.traceparent:
            header["traceparent"] = message.traceparent
        if payload.key:
            header["key"] = payload.key
        if payload.parts:
            header["parts"] = [
                [p.name, p.media_type, p.size, p.key, p.data is not None] for p in payload.parts
            ]
        return header

    def _set_capacity(self) -> None:
        """Take as many deliveries as the ready replicas should have in hand."""
        if self._consumer and not self._closing:
            each = self._pipeline
            if self.spec.batching:
                each = self.spec.batching.max_size * 2  # one batch runs while the next is gathered
            ready = sum(p.state is State.READY for p in self.replicas)
            draining = [p for p in self.replicas if p.state is State.DRAINING]
            kept = sum(len(job.leases) for p in draining for job in p.jobs)  # count as taken, too
            prefetch = ready * each + kept if ready else 0
            if self._consumer.prefetch != prefetch:
                self._consumer.prefetch = prefetch

    def _learn(self, run: float) -> None:
        """Follow the run time, so that short functions are pipelined and long ones are not."""
        self._samples += 1
        self._slowest = max(run, self._slowest * 0.98)
        self._typical += (run - self._typical) * 0.05
        if self._chatty or self._samples < SAMPLES_BEFORE_PIPELINE:
            pipeline = 1
        else:
            pipeline = min(MAX_PIPELINE, max(1, int(BUSY_WINDOW / max(self._slowest, 1e-6))))
        if pipeline == 1 or not self._pipeline // 2 < pipeline < self._pipeline * 2:
            self._pipeline = pipeline
            self._set_capacity()

    # ── outcomes out ──────────────────────────────────────────────────────────────────────────

    def on_started(self, process: ReplicaProcess, job: Job) -> None:
        for lease in job.leases.values():
            if not lease.reported:
                self._reporter.started(lease.delivery.message, process, job.started_at or 0.0)

    def on_event(self, process: ReplicaProcess, lease: Lease, body: bytes) -> None:
        if not lease.reported:
            self._reporter.progressed(lease.delivery.message, body)

    def on_output(self, process: ReplicaProcess, leases: list[Lease], data: bytes) -> None:
        if not self._chatty:
            self._chatty = True
            self._learn(0.0)
        for lease in leases:
            self._reporter.wrote(lease.delivery.message, data)

    def on_result(
        self, process: ReplicaProcess, lease: Lease, header: dict[str, Any], body: bytes
    ) -> None:
        self._learn(header["run"])
        size = header.get("size", len(body))
        media_type = header.get("media_type", JSON)
        data = body if body or not size else None
        result = Part("result", media_type, size, data, header.get("key"))
        blobs = tuple(
            Part(name, kind, size, key=key) for name, kind, size, key in header.get("blobs", ())
        )
        outcome = Outcome(
            Status.SUCCEEDED, result, None, blobs, header["run"], header.get("phases")
        )
        self._settle(process, lease, outcome)

    def on_error(self, process: ReplicaProcess, lease: Lease, header: dict[str, Any]) -> None:
        self._learn(header["run"])
        told = header["error"]
        details = {"errors": told["errors"]} if "errors" in told else {}
        error = Failure(told["type"], told["message"], told["traceback"], details)
        lease_was_told = lease.reported
        if not lease.reported and self._should_retry(lease.delivery.message, told["bases"]):
            self._retry(process, lease, error)
        else:
            run, phases = header["run"], header["phases"]
            outcome = Outcome(Status.FAILED, None, error, (), run, phases)
            self._settle(process, lease, outcome)
        if not lease_was_told:
            self._judge_after(process, process.jobs[0], {told["type"], *_names(told["bases"])})
        if header["recycle"]:
            self.quarantine.leave(process.gpu, process.conduct)
            self._let_go(process, f"recycled after {error.type}")
            self._set_capacity()
            self._fill()

    def _settle(self, process: ReplicaProcess, lease: Lease, outcome: Outcome) -> None:
        if not lease.reported:
            outcome.log = lease.written()
            lease.reported = True
            self._reporter.finished(lease.delivery.message, process, outcome)
        lease.delivery.ack()
        if process.state is State.DRAINING and self._is_done(process):
            process.leave()

    def _should_retry(self, message: Message, bases: list[str]) -> bool:
        retries = self.spec.retries
        if retries is None or message.attempt >= retries.max_attempts:
            return False
        names = _names(bases)
        return bool(names & set(retries.on)) and not names & NEVER_RETRIED

    def _retry(self, process: ReplicaProcess, lease: Lease, error: Failure) -> None:
        """Back to the queue, after exponential backoff with full jitter."""
        assert self.spec.retries
        message = lease.delivery.message
        ceiling = self.spec.retries.backoff * 2 ** (message.attempt - 1)
        delay = random.uniform(0, min(ceiling, self.spec.retries.max_backoff))
        lease.reported = True
        self._reporter.retried(message, process, error, lease.sent_at)
        lease.delivery.requeue(delay=delay)
        if process.state is State.DRAINING and self._is_done(process):
            process.leave()

    @staticmethod
    def _is_done(process: ReplicaProcess) -> bool:
        return not any(job.leases for job in process.jobs)

    # ── starts and ends ───────────────────────────────────────────────────────────────────────

    def _fill(self) -> None:
        """Start what is missing, but not sooner than the backoff allows."""
        loop = asyncio.get_running_loop()
        missing = self.wanted - self.counts().running
        if missing <= 0 or self._closing:
            return
        if self._not_before > loop.time():
            if self._retry_start is None:
                self._retry_start = loop.call_at(self._not_before, self._fill_later)
            return
        if self.failed_starts:
            missing = 1  # one at a time until one lives
        before = self.counts().running, self.starved
        for _ in range(missing):
            if not self._start():
                break
        if (self.counts().running, self.starved) != before:
            self.on_change(self)  # else who looks again at each change would look for ever

    def _fill_later(self) -> None:
        self._retry_start = None
        self._fill()

    def _start(self) -> bool:
        """Start one replica; False where it has to wait for a GPU slot."""
        gpu = self._slots.take() if self.device == "gpu" else None
        self.starved = self.device == "gpu" and gpu is None
        if self.starved:
            self._slots.wait(self._fill, first=not self.counts().running)
            self.on_starved(self)
            return False
        where = f"{self.device}-{SIMULATED}" if gpu == SIMULATED else self.device
        name = f"{self.spec.name}-{where}-{next(self._numbers)}"
        process = ReplicaProcess(name, self, gpu, self.quarantine.conduct(gpu))
        self.replicas.append(process)
        task = asyncio.create_task(self._spawn(process))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return True

    async def _spawn(self, process: ReplicaProcess) -> None:
        try:
            zygote = await self._zygote(self.spec)
            if process.state is not State.STARTING:  # let go while its zygote was loading
                self._remove(process, process.drained_for or "scaled in")
                return
            simulated = process.gpu == SIMULATED
            order = self._order | {
                "attribute": self.spec.attribute,
                "device": self.device,
                "gpu": None if simulated else process.gpu,
                "simulated": simulated,
            }
            await process.spawn(zygote, order)
            loop = asyncio.get_running_loop()
            loop.call_later(START_TIMEOUT, self._give_up_start, process)
        except ZygoteGone as error:
            self._start_failed(process, f"{error}")
            self._remove(process, f"it could not start: {error}")

    def on_ready(self, process: ReplicaProcess, setup: float) -> None:
        self.failed_starts, self.trouble = 0, None
        self.cold_starts += 1
        self._set_capacity()
        self._fill()
        self.on_change(self)

    def on_unable(self, process: ReplicaProcess, error: dict[str, Any]) -> None:
        process.killed_for = "setup"
        process.trouble = f"{error['type']}: {error['message']}"
        self._start_failed(process, process.trouble)

    def on_ended(self, process: ReplicaProcess, status: int | None) -> None:
        unfinished = [job for job in process.jobs if job.leases]
        if process.ready_at is None and process.killed_for is None and not self._closing:
            said = process.start_output.last(LAST_OUTPUT).strip()
            said = f"; its last output: {said}" if said else ""
            self._start_failed(process, f"it ended while starting: {ending(status)}{said}")
        self._set_capacity()  # what is given back must not queue up behind busy replicas
        running = process.running()
        for job in reversed(unfinished):
            if job is not running:
                for lease in job.leases.values():
                    self._give_back(lease)
        if running in unfinished:
            self._give_up(process, running, status)
            if process.killed_for in _ITS_DEATH and not self._closing:
                self._judge_dead(process, running)
        process.jobs.clear()
        self._remove(process, how_it_ended(process, status))

    def judge(self) -> None:
        """Take out the replicas that are to blame for their failures, by what is known now."""
        for process in [p for p in self.replicas if p.state is State.READY]:
            self._judge(process)

    def _judge_after(self, process: ReplicaProcess, job: Job, kinds: Iterable[str]) -> None:
        self.quarantine.failed(process.conduct, job.number, kinds)
        if process.state is State.READY:
            self._judge(process)

    def _judge(self, process: ReplicaProcess) -> None:
        if why := self.quarantine.verdict(process, self.replicas):
            self._let_go(process, why)
            self._take_back(process)
            self._take_out(process, why)
            self._set_capacity()
            self._fill()
        elif process.conduct.in_a_row >= IN_A_ROW:
            self.on_doubt(self)

    def _judge_dead(self, process: ReplicaProcess, job: Job) -> None:
        """It died of a job; if not to blame by now, its successor goes on with its row."""
        self.quarantine.failed(process.conduct, job.number)
        if why := self.quarantine.verdict(process, self.replicas):
            process.drained_for = process.drained_for or why
            self._take_out(process, why)
            return
        self.quarantine.leave(process.gpu, process.conduct)
        if process.conduct.in_a_row >= IN_A_ROW:
            self.on_doubt(self)

    def _take_out(self, process: ReplicaProcess, why: str) -> None:
        log.warning("replica=%s %s", process.name, why)
        self.on_taken_out(self, why)

    def _take_back(self, process: ReplicaProcess) -> None:
        """Give back what waits in a replica's hands and is not begun; batches are finished."""
        for job in process.jobs:
            if len(job.leases) == 1 and process.revoke(job):
                (lease,) = job.leases.values()
                if not lease.reported:
                    lease.reported = True
                    lease.delivery.requeue(counted=False)

    def _give_back(self, lease: Lease) -> None:
        """It is not what the replica died of: somebody else takes it."""
        if lease.reported:
            lease.delivery.ack()
        else:
            lease.delivery.requeue(counted=False)

    def _give_up(self, process: ReplicaProcess, job: Job, status: int | None) -> None:
        """The replica died with this job in hand: retry it, or call it dead."""
        alone = len(job.leases) == 1
        for lease in list(job.leases.values()):
            message = lease.delivery.message
            if lease.reported or process.killed_for not in (None, "memory"):
                self._give_back(lease)
                continue
            error = self._cause_of_death(process, lease, status)
            last = message.attempt >= self.spec.max_attempts
            if self._closing or not (last and alone):
                lease.reported = True
                began, counted = job.started_at or lease.sent_at, not self._closing
                self._reporter.retried(message, process, error, began, counted=counted)
                lease.delivery.requeue(counted=counted)
            else:
                lease.reported = True
                run = time.time() - (job.started_at or lease.sent_at)
                outcome = Outcome(Status.DEAD, None, error, (), run, None, lease.written())
                self._reporter.finished(message, process, outcome)
                lease.delivery.reject(error.message)

    def _cause_of_death(self, process: ReplicaProcess, lease: Lease, status: int | None) -> Failure:
        details: dict[str, Any] = {
            "last_output": lease.capture.last(LAST_OUTPUT) if lease.capture else ""
        }
        if process.killed_for == "memory":
            limit = self._memory_limit()
            text = f"the replica held more than {limit:,} bytes of memory and was killed"
            return Failure("MemoryLimit", text, None, details)
        how = ending(status)
        return Failure("ReplicaDied", f"the replica ended: {how}", None, details | {"ending": how})

    def _give_up_start(self, process: ReplicaProcess) -> None:
        if process.state is State.STARTING:
            process.trouble = f"it took over {START_TIMEOUT:.0f} s"
            self._start_failed(process, f"its setup took over {START_TIMEOUT:.0f} s")
            process.kill("setup")

    def _start_failed(self, process: ReplicaProcess, why: str) -> None:
        self.failed_starts += 1
        delay = min(MAX_BACKOFF, 0.5 * 2 ** (self.failed_starts - 1))
        self._not_before = asyncio.get_running_loop().time() + delay
        self.trouble = f"replicas die while starting ({self.failed_starts} in a row): {why}"
        log.warning("function=%s device=%s %s", self.spec.name, self.device, self.trouble)

    def _let_go(self, process: ReplicaProcess, why: str) -> None:
        if process.state is State.ENDED:
            return
        unborn = process.state is State.STARTING and process.pid is None and not process.jobs
        process.drain(why)
        if unborn:
            process.kill("let go")
            if not process.forked:
                self._remove(process, why)
        elif self._is_done(process):
            process.leave()

    def _remove(self, process: ReplicaProcess, how: str) -> None:
        """It is gone; `how` in words."""
        if process in self.replicas:
            self.replicas.remove(process)
            self._departures.add(process, self.spec.name, self.device, how)
        if process.gpu is not None:
            self._slots.give_back(process.gpu)
            process.gpu = None
        self._set_capacity()
        self._fill()
        self.on_change(self)

    # ── deadlines and memory ──────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        busy = [process for process in self.replicas if process.jobs]
        for process in busy:
            self._watch_one(process)
        self.judge()
        self._tick = asyncio.get_running_loop().call_later(TICK, self._watch) if busy else None

    def _memory_limit(self) -> int:
        return self.spec.resources.memory or self._memory

    def _watch_one(self, process: ReplicaProcess) -> None:
        job = process.running()
        ran = time.monotonic() - process.running_since(job) if job else 0.0
        if job and ran > self.spec.timeout:
            self._time_out(process, job, ran)
        elif process.memory() > self._memory_limit():
            process.kill("memory")
        elif job is not process.jobs[0]:
            process.prod()  # what is done waits behind something slow

    def _time_out(self, process: ReplicaProcess, job: Job, ran: float) -> None:
        process.read_output()
        for lease in job.leases.values():
            text = f"attempt {lease.delivery.message.attempt} ran over {self.spec.timeout:g} s"
            error = Failure("FunctionTimeout", text)
            if not lease.reported:
                outcome = Outcome(Status.TIMED_OUT, None, error, (), ran, None, lease.written())
                lease.reported = True
                self._reporter.finished(lease.delivery.message, process, outcome)
        process.kill("timeout")

    def _kill_if_still(self, process: ReplicaProcess, job: Job, why: str) -> None:
        if process.running() is job and job.leases:
            process.kill(why)


def _names(bases: list[str]) -> set[str]:
    """Of an error's classes, the names with their modules and without."""
    return set(bases) | {base.rpartition(".")[2] for base in bases}
