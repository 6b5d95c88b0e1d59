"""Outcomes that are POSTed to whoever asked for it: from the ledger, by way of a queue.

A message of the queue `callbacks` says only which invocation it is about; how far its callback has
come is the ledger's to know.  So a message may be lost, or come twice: what is due is found in the
ledger again, and what is finished is not sent again.  A callback is delivered at least once, always
under the invocation's id: a receiver that remembers ids does its work once.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import orjson

from runtime.brokers import Broker, Consumer, Delivery, QueueSpec
from runtime.destination import host_of
from runtime.errors import LumbreError
from runtime.ledger import CallbackRecord, Ledger
from runtime.lines import Lines
from runtime.model import INLINE_LIMIT, JSON, Invocation, Message, Part, Payload, new_id
from runtime.views import instant, invocation_view
from runtime.webhook import TOTAL, Answer, Webhook

# Its messages are given back as often as it takes: the ledger counts, not the broker.
QUEUE = QueueSpec("callbacks", delivery_limit=1_000_000)
PREFETCH = 1024  # messages in hand: what is sent now, and the lines of a dozen busy hosts
DELAYS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)  # seconds: the steps of delay queues
JITTER = 0.25  # of a delay, taken off it: more would be a longer step on RabbitMQ
ATTEMPTS = 19  # an hour, by DELAYS
MAX_AGE = 86_400.0  # seconds after the outcome; lines of a host that is down can be that long
AWAY = 5.0  # seconds until the ledger or the broker is asked again
SWEEP = 60.0  # seconds between two looks for what was lost
LOST = 600.0  # seconds after which a due callback must have lost its message
LEASE = 120.0  # seconds; who sweeps
AT_ONCE = 100  # published, or swept, together
MAX_UNPUBLISHED = 100_000  # while the broker is away; the sweep finds the others

log = logging.getLogger(__name__)


def callback_view(record: CallbackRecord) -> dict[str, Any]:
    """A callback as the API shows it, in an invocation's record."""
    state = "pending"
    if record.finished:
        state = "delivered" if record.error is None else "failed"
    return {
        "url": record.url,
        "state": state,
        "attempts": record.attempts,
        "status_code": record.status_code,
        "error": record.error,
    }


def callback_body(invocation: Invocation, public_url: str) -> bytes:
    """What is POSTed: a type, an instant and the record, as Standard Webhooks has it.

    The record's links are absolute.  A JSON result up to INLINE_LIMIT is in it, as `result`; any
    other is behind `links.result`.
    """
    data = invocation_view(invocation)
    data["links"] = _absolute(data["links"], public_url.rstrip("/"))
    result = invocation.result
    if result is not None and result.data is not None and _travels(result):
        data["result"] = orjson.Fragment(result.data)
    return orjson.dumps(
        {
            "type": f"invocation.{invocation.status}",
            "timestamp": instant(invocation.finished_at),
            "data": data,
        }
    )


def _travels(result: Part) -> bool:
    return result.media_type == JSON and result.size <= INLINE_LIMIT


def _absolute(links: Any, root: str) -> Any:
    if isinstance(links, dict):
        return {name: _absolute(link, root) for name, link in links.items()}
    return f"{root}{links}" if isinstance(links, str) else links


class Callbacks:
    """Sends what is due; `start` it, and close it before the broker, the ledger and the webhook."""

    def __init__(
        self,
        broker: Broker,
        ledger: Ledger,
        webhook: Webhook,
        public_url: str,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._broker = broker
        self._ledger = ledger
        self._webhook = webhook
        self._public_url = public_url
        self._clock = clock
        self._chance = chance
        self._holder = new_id()  # of the lease
        self._lines: Lines[_Job] = Lines()
        self._in_hand: set[str] = set()  # invocations
        self._sending: dict[asyncio.Task[None], _Job] = {}
        self._unpublished: dict[str, str] = {}  # hosts, by invocation
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._consumer: Consumer | None = None
        self._closing = False

    async def start(self, *, forgetful: bool) -> None:
        """Begin to send; `forgetful` says that the broker has lost every message of before.

        Then all that is due is put into the queue at once, instead of what nothing has happened to
        for LOST seconds.
        """
        await self._broker.declare([QUEUE])
        self._consumer = await self._broker.consume(QUEUE.name, PREFETCH, self._take)
        self._tasks = [
            asyncio.create_task(self._publish(), name="callbacks-publish"),
            asyncio.create_task(self._sweep(forgetful), name="callbacks-sweep"),
        ]

    async def close(self, grace: float = TOTAL) -> None:
        """Take no more, give back what waits, and let what is being sent end within the grace."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._consumer:
            await self._consumer.close()
        for job in self._lines.clear():
            job.delivery.requeue(counted=False)
        if self._sending:
            await asyncio.wait(self._sending, timeout=grace)
        for task, job in self._sending.items():
            task.cancel()
            job.delivery.requeue(counted=False)
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._publish_some()  # what is lost here is found when it is overdue

    # ── into the queue ────────────────────────────────────────────────────────────────────────

    def enqueue(self, invocations: Iterable[Invocation]) -> None:
        """Have outcomes sent: of those here that are terminal, stored, and have a callback.

        Returns at once, and never fails: what cannot be published is tried again.
        """
        for invocation in invocations:
            if invocation.callback is None or not invocation.terminal:
                continue
            if len(self._unpublished) < MAX_UNPUBLISHED:
                self._unpublished[invocation.id] = host_of(invocation.callback)
        if self._unpublished:
            self._wake.set()

    async def _publish(self) -> None:
        """Publish what was enqueued, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unpublished:
                if not await self._publish_some():
                    await asyncio.sleep(AWAY)

    async def _publish_some(self) -> bool:
        """Publish the first of those that were enqueued; False if any of them has to stay."""
        jobs = list(islice(self._unpublished.items(), AT_ONCE))
        answers = await asyncio.gather(
            *(self._put(id, host) for id, host in jobs), return_exceptions=True
        )
        for (id, _), answer in zip(jobs, answers, strict=True):
            if answer is None:
                self._unpublished.pop(id, None)
            else:
                log.warning("invocation=%s its callback cannot be queued: %s", id, answer)
        return not any(answers)

    async def _put(self, id: str, host: str) -> None:
        said = orjson.dumps({"invocation": id, "host": host})
        message = Message(new_id(), QUEUE.name, "cpu", Payload(said), self._clock())
        await self._broker.publish(QUEUE.name, message)

    async def _sweep(self, forgetful: bool) -> None:
        """Put into the queue what is due and has no message, now and every SWEEP seconds."""
        due_before = self._clock() if forgetful else None
        while True:
            try:
                if due_before is not None:
                    await self._recover(due_before)
                elif await self._ledger.lease(QUEUE.name, self._holder, LEASE):
                    await self._recover_lost()
                due_before = None
            except Exception as error:  # whatever it is, the next look may find them
                unexpected = None if isinstance(error, LumbreError) else error
                text = "callbacks that are due cannot be looked for: %s"
                log.warning(text, error, exc_info=unexpected)
            await asyncio.sleep(SWEEP)

    async def _recover_lost(self) -> None:
        """Queue what nothing has happened to for LOST seconds, unless it may only have to wait."""
        depth = await self._broker.depth(QUEUE.name)
        if not depth.backlog and not self._in_hand:
            await self._recover(self._clock() - LOST)

    async def _recover(self, before: float) -> None:
        """Queue what is due and was not touched since `before` (unix seconds)."""
        while due := await self._ledger.due_callbacks(AT_ONCE, before):
            for invocation in due:
                if record := await self._ledger.callback(invocation.id):
                    # So that neither the next page nor the next sweep has it again.
                    touched = replace(record, updated_at=max(self._clock(), before))
                    await self._ledger.record_callback(touched)
                    await self._put(invocation.id, host_of(record.url))
            log.info("queued %d callbacks again", len(due))

    # ── out of the queue ──────────────────────────────────────────────────────────────────────

    def _take(self, delivery: Delivery) -> None:
        """Give a delivery its place in line."""
        job = _read(delivery)
        if job is None:
            delivery.reject("it is no callback: the queue takes messages of Lumbre only")
        elif self._closing:
            delivery.requeue(counted=False)
        elif job.invocation in self._in_hand:  # the message in hand does the work of both
            delivery.ack()
        elif (later := self._lines.join(job.host, job, self._now())) is not None:
            delivery.requeue(counted=False, delay=later)
        else:
            self._in_hand.add(job.invocation)
            self._fill()

    def _fill(self) -> None:
        """Send whatever may be sent now."""
        while not self._closing and (started := self._lines.start()):
            host, job = started
            task = asyncio.create_task(self._attempt(host, job), name="callback")
            self._sending[task] = job
            task.add_done_callback(self._sending.pop)

    async def _attempt(self, host: str, job: "_Job") -> None:
        began = self._now()
        try:
            await self._settle(job)
        finally:
            self._in_hand.discard(job.invocation)
            self._lines.finish(host, self._now() - began)
            self._fill()

    async def _settle(self, job: "_Job") -> None:
        """Send one, and acknowledge its message or give it back."""
        try:
            delay = await self._send(job.invocation)
        except LumbreError as error:
            log.info("invocation=%s its callback waits for the ledger: %s", job.invocation, error)
            job.delivery.requeue(counted=False, delay=AWAY)
        except Exception:  # whatever it is, the others go on, and this one is tried again
            log.exception("invocation=%s its callback cannot be sent", job.invocation)
            job.delivery.requeue(counted=False, delay=DELAYS[-1])
        else:
            if delay is None:
                job.delivery.ack()
            else:
                job.delivery.requeue(counted=True, delay=delay)

    async def _send(self, id: str) -> float | None:
        """POST one outcome; the seconds until it is to be tried again, None where it is not."""
        record = await self._ledger.callback(id)
        if record is None or record.finished:
            return None
        invocation = await self._ledger.get(id)
        if invocation is None or not invocation.terminal:
            return None  # taken away; or whoever stores its outcome enqueues it
        body = callback_body(invocation, self._public_url)
        answer = await self._webhook.post(record.url, id, body)
        record = after(record, answer, invocation.finished_at, self._clock())
        await self._ledger.record_callback(record)
        if record.finished and record.error:
            log.warning(
                "invocation=%s host=%s attempts=%d its callback is given up: %s",
                id,
                host_of(record.url),
                record.attempts,
                record.error,
            )
        return None if record.finished else delay_after(record.attempts, answer, self._chance())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def after(
    record: CallbackRecord, answer: Answer, ended_at: float | None, now: float
) -> CallbackRecord:
    """The record after one more attempt; instants are unix seconds."""
    attempts = record.attempts + 1
    late = ended_at is not None and now - ended_at > MAX_AGE
    return replace(
        record,
        attempts=attempts,
        status_code=answer.status_code,
        error=answer.error,
        finished=answer.delivered or answer.final or late or attempts >= ATTEMPTS,
        updated_at=now,
    )


def delay_after(attempts: int, answer: Answer, chance: float) -> float:
    """Seconds until the next attempt; `chance`, from 0 to 1, spreads those that failed together.

    A receiver that asks for time is given it, up to the longest step.
    """
    step = DELAYS[min(attempts, len(DELAYS)) - 1]
    return max(step * (1 - JITTER * chance), min(answer.retry_after or 0.0, DELAYS[-1]))


@dataclass(frozen=True, slots=True)
class _Job:
    """What a message is about, and the delivery to settle for it."""

    invocation: str
    host: str
    delivery: Delivery


def _read(delivery: Delivery) -> _Job | None:
    """The job in a delivery; None where there is none."""
    try:
        said = orjson.loads(delivery.message.payload.parameters or b"")
    except orjson.JSONDecodeError:
        return None
    match said:
        case {"invocation": str(id), "host": str(host)}:
            return _Job(id, host, delivery)
    return None
