"""Runs a whole load test: looks at the node, sends the load, gathers what was measured."""

import asyncio
import gc
import logging
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from loadtest import slo
from loadtest.address import Address
from loadtest.address import check_url as check_url
from loadtest.bottleneck import generator, is_saturated
from loadtest.client import Client, Ended
from loadtest.connection import clock
from loadtest.fingerprint import fingerprint
from loadtest.live import Watch
from loadtest.observer import AUDIT_PATIENCE, PATIENCE, Observer
from loadtest.outcome import Observed, Outcome
from loadtest.plan import Plan
from loadtest.snapshot import Queue, Snapshot
from loadtest.tally import MOST_COLDS
from runtime.errors import ConfigurationError

SHOW_EVERY = 0.25  # seconds

log = logging.getLogger(__name__)


def run_plan(
    plan: Plan,
    url: str,
    *,
    folder: Path,
    watch: Watch | None = None,
    allow_remote: bool = False,
    key: str | None = None,
) -> Outcome:
    """Run a plan to its end, or to Ctrl-C or SIGTERM, which end it with what was measured by then.

    A second Ctrl-C waits for no more answers.  Files in the plan are relative to `folder`; `key` is
    the API key that the node asks for.
    ConfigurationError where the plan or URL cannot be used.  Only in the main thread.
    """
    gc.collect()
    gc.freeze()  # what is there now need not be looked through while the load runs
    try:
        return uvloop.run(_signalled(plan, url, folder, watch, allow_remote, key))
    finally:
        gc.unfreeze()


async def _signalled(
    plan: Plan,
    url: str,
    folder: Path,
    watch: Watch | None,
    allow_remote: bool,
    key: str | None,
) -> Outcome:
    stop, hurry = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return await run(
        plan,
        url,
        folder=folder,
        watch=watch,
        stop=stop,
        hurry=hurry,
        allow_remote=allow_remote,
        key=key,
    )


async def run(
    plan: Plan,
    url: str,
    *,
    folder: Path,
    watch: Watch | None = None,
    stop: asyncio.Event | None = None,
    hurry: asyncio.Event | None = None,
    allow_remote: bool = False,
    silence: float | None = None,
    key: str | None = None,
) -> Outcome:
    """Run a plan against a URL.  `stop` ends it early, `hurry` the waiting for answers after that.

    `silence`: seconds of failures only, after which the server counts as gone.  `key`: the API key
    that it asks for.  The loop should be uvloop's: with another the generator costs more.
    """
    address = replace(await asyncio.to_thread(check_url, url, allow_remote), key=key)
    machine = await asyncio.to_thread(fingerprint, None)
    async with Observer(address.url, address.tls, key) as observer:
        node = await observer.node()
        _check_served(plan, address.url, observer.functions)
        client = Client(plan, address, folder, silence)
        shower = _Shower(client, observer, watch, address)
        began_at = time.time()
        ended = await _run(client, observer, shower, stop, hurry)
        decided = await observer.decided(began_at, ended.seconds)
        audit = await observer.audit(PATIENCE if ended.interrupted else AUDIT_PATIENCE)
        tally = client.tally
        outcome = Outcome(
            plan=plan.filled(),
            url=address.url,
            seed=plan.seed,
            began_at=_instant(began_at),
            seconds=ended.seconds,
            interrupted=ended.interrupted,
            machine=machine,
            node=[*node, ("simulated", "gpu")] if tally.simulated() else node,
            groups=tally.groups(),
            series=tally.series(),
            observed=tuple(observer.observed),
            decided=decided,
            colds=tuple(tally.colds),
            faults=tally.faults(),
            generator=generator(tally, client.pool.peak, client.pool.most, ended.seconds),
            throttled=tally.throttled,
            unanswered=ended.unanswered,
            objectives=(),
            audit=audit,
            notes=_notes(client, observer, ended),
        )
    goals = slo.parse(plan.slo) if plan.slo else ()
    return replace(outcome, objectives=tuple(goal.check(outcome) for goal in goals))


async def _run(
    client: Client,
    observer: Observer,
    shower: "_Shower",
    stop: asyncio.Event | None,
    hurry: asyncio.Event | None,
) -> Ended:
    """Send the load, while the node is watched and the load is shown."""
    tasks: list[asyncio.Task[None]] = []

    def began() -> None:
        tasks.append(asyncio.create_task(observer.watch(client.tally.began)))
        tasks.append(asyncio.create_task(shower.run()))

    try:
        return await client.run(stop, hurry, began)
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):  # what was sent and measured is whole without it
                log.error("the load was no longer watched or shown", exc_info=result)


class _Shower:
    """Shows the load to whoever watches it, four times a second."""

    def __init__(
        self, client: Client, observer: Observer, watch: Watch | None, address: Address
    ) -> None:
        self._client = client
        self._observer = observer
        self._watch = watch
        self._url = address.url
        self._overall: tuple[float | None, ...] = (None, None, None)
        self._seconds = 0  # whole ones that `_overall` is about

    async def run(self) -> None:
        while self._watch is not None:
            await asyncio.sleep(SHOW_EVERY)
            self._watch.show(self._snapshot())

    def _snapshot(self) -> Snapshot:
        client, tally = self._client, self._client.tally
        now = clock()
        whole = tally.rows[:-1]
        if len(whole) > self._seconds:  # it costs a sorting of thousands: once a second
            self._seconds, self._overall = len(whole), tally.overall()
        latest = whole[-1] if whole else None
        stages = client.plan.stages
        return Snapshot(
            name=client.plan.name,
            url=self._url,
            stage=client.stage + 1,
            stages=len(stages),
            kind=stages[client.stage].kind,
            elapsed=now - tally.began,
            length=client.plan.length,
            ending=client.draining,
            throughput=latest.succeeded if latest else 0,
            latest=latest.percentiles[:3] if latest else (None, None, None),
            overall=self._overall,
            succeeded=sum(row.succeeded for row in tally.rows),
            faults=sum(row.faults for row in tally.rows),
            throttled=tally.throttled,
            waiting=client.pool.waiting,
            held=client.held,
            saturated=sum(is_saturated(row) for row in whole),
            queues=_queues(self._observer.observed),
        )


def _queues(observed: list[Observed]) -> tuple[Queue, ...]:
    """What the latest look at the node saw."""
    if not observed:
        return ()
    at = observed[-1].at
    return tuple(_queue(each) for each in observed if each.at == at)


def _queue(seen: Observed) -> Queue:
    return Queue(
        function=seen.function,
        device=seen.device,
        backlog=seen.ready + seen.unacknowledged,
        replicas=seen.starting + seen.idle + seen.busy,
        busy=seen.busy,
        starting=seen.starting,
    )


def _check_served(plan: Plan, url: str, served: frozenset[str] | None) -> None:
    """ConfigurationError where a node does not have what the plan asks for, before all is 404."""
    asked = {share.function for share in plan.mix}
    if served is not None and (missing := sorted(asked - served)):
        there = ", ".join(sorted(served)) or "none"
        raise ConfigurationError(f"{url} has no function {missing[0]!r}; there are: {there}")


def _notes(client: Client, observer: Observer, ended: Ended) -> tuple[str, ...]:
    notes = [*client.notes, *observer.conclude()]
    if left := client.tally.colds_left_out:
        notes.append(f"only the first {MOST_COLDS:,} cold starts are listed: {left:,} more came")
    if ended.unanswered:
        notes.append(
            f"{ended.unanswered:,} requests had no outcome when the load test ended: they are in no"
            " latency, and count as errors"
        )
    if not client.timers.exact:
        notes.append("this system has no exact timers: requests left up to 1 ms after their time")
    return tuple(notes)


def _instant(at: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
