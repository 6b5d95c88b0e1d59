"""One run: traffic, faults on schedule where the deployment is ours, and what became of it all."""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import uvloop

from loadtest.chaos.deployment import Deployment
from loadtest.chaos.record import SELECT_JSON, Record, rows_of_sqlite, rows_of_text
from loadtest.chaos.runs import runs_of
from loadtest.chaos.schedule import Fault, schedule
from loadtest.chaos.shape import Shape, Store
from loadtest.chaos.traffic import Told, Traffic
from loadtest.chaos.verdict import Evidence, Verdict, judge
from loadtest.servers import PostgresServer, QueueRow, RabbitServer

RATE = 250.0  # orders a second, as long as answers keep up
EVERY = 1.2  # seconds between two faults, on average
QUEUES_LIMIT = 30.0  # seconds after the last invocation until every queue must be empty
FAULTS_AT_ONCE = 24  # threads: a fault may last for seconds
LOG = "chaos.log"  # beside those of the roles: what was done, and when
TRACEBACK = rb"Traceback \(most recent call last\)(?:.*\n){1,40}?\S*(?:Error|Exception|Exit).*"

log = logging.getLogger(__name__)

Tell = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is to be done in one run."""

    seed: int = 1
    count: int = 20_000
    shape: Shape = field(default_factory=Shape)
    rate: float = RATE
    every: float = EVERY

    @property
    def seconds(self) -> float:
        """How long orders, and faults, come."""
        return max(5.0, self.count / self.rate)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run, and what it has shown."""

    campaign: Campaign
    verdict: Verdict
    faults: dict[str, int]
    refusals: dict[str, int]  # answers that had a caller ask again, and lost ones
    seconds: float  # the whole run took


def run(
    campaign: Campaign,
    folder: Path,
    tell: Tell,
    rabbit: RabbitServer | None = None,
    postgres: PostgresServer | None = None,
) -> Outcome:
    """Break a deployment of our own, with its files in an empty folder."""
    began = time.monotonic()
    with _logged(folder / LOG), Deployment(folder, campaign.shape, rabbit, postgres) as deployment:
        faults = schedule(campaign.seed, campaign.seconds, deployment.kinds, campaign.every)
        tell(f"seed {campaign.seed}: {campaign.shape}; {len(faults)} faults")
        for fault in faults:
            tell(f"{fault}")
        verdict, refusals = uvloop.run(_Siege(campaign, deployment, faults, tell).run())
    counts = Counter(str(fault.kind) for fault in faults)
    return Outcome(campaign, verdict, dict(counts), refusals, time.monotonic() - began)


def visit(campaign: Campaign, url: str, tell: Tell) -> Outcome:
    """Give orders to a deployment that is somebody else's, and break nothing."""
    began = time.monotonic()

    async def main() -> tuple[Verdict, dict[str, int]]:
        async with Traffic([url], campaign.seed, campaign.count, campaign.seconds) as traffic:
            await traffic.give()
            tell(f"{len(traffic.receipts.by_id)} were answered, and the batches accepted")
            await traffic.drained()
            told = await traffic.told()
        return judge(_evidence(traffic, told)), dict(traffic.receipts.refusals)

    verdict, refusals = uvloop.run(main())
    return Outcome(campaign, verdict, {}, refusals, time.monotonic() - began)


class _Siege:
    """A run under way."""

    def __init__(
        self, campaign: Campaign, deployment: Deployment, faults: Sequence[Fault], tell: Tell
    ) -> None:
        self._campaign = campaign
        self._deployment = deployment
        self._faults = faults
        self._tell = tell
        self._threads = ThreadPoolExecutor(FAULTS_AT_ONCE, "fault")

    async def run(self) -> tuple[Verdict, dict[str, int]]:
        campaign, urls = self._campaign, self._deployment.urls
        supervising = asyncio.create_task(self._supervise())
        try:
            async with Traffic(urls, campaign.seed, campaign.count, campaign.seconds) as traffic:
                evidence = await self._besiege(traffic)
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)
        await self._in_thread(self._deployment.stop)
        self._threads.shutdown()
        evidence.problems += [*self._deployment.problems, *self._tracebacks()]
        return judge(evidence), dict(traffic.receipts.refusals)

    async def _besiege(self, traffic: Traffic) -> Evidence:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._break())
            both.create_task(traffic.give())
        self._say(f"{len(traffic.receipts.by_id)} were answered, and the batches accepted")
        await self._in_thread(self._deployment.await_up)
        drained = await traffic.drained()
        self._say("everything is over" if drained else "something does not come to its end")
        queues = await self._emptied()
        evidence = _evidence(traffic, await traffic.told())
        evidence.rows = await self._in_thread(self._rows)
        evidence.runs = await self._in_thread(runs_of, self._deployment.trace)
        evidence.queues = queues
        evidence.outages = self._deployment.stores.outages
        evidence.records_everything = not self._campaign.shape.embedded
        return evidence

    async def _break(self) -> None:
        """Do what the schedule says, each fault at its time, whether earlier ones are over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as doing:
            for fault in self._faults:
                await asyncio.sleep(began + fault.at - time.monotonic())
                doing.create_task(self._in_thread(self._do, fault))
        self._say("everything that was broken is mended")

    def _say(self, what: str) -> None:
        log.info(what)
        self._tell(what)

    def _do(self, fault: Fault) -> None:
        log.info("begins: %s, %s s", fault.kind, fault.seconds)
        self._deployment.apply(fault)
        log.info("is over: %s", fault.kind)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self._in_thread(self._deployment.supervise)

    async def _emptied(self) -> list[str]:
        """Sentences about queues that do not become empty."""
        until = time.monotonic() + QUEUES_LIMIT
        while True:
            queues = await self._in_thread(self._deployment.stores.queues)
            left = [f"{queue}" for queue in queues if is_left_over(queue)]
            if not left or time.monotonic() > until:
                return left
            await asyncio.sleep(0.5)

    def _rows(self) -> list[Record]:
        if self._campaign.shape.ledger is Store.POSTGRES:
            return rows_of_text(self._deployment.stores.sql(SELECT_JSON))
        return rows_of_sqlite(self._deployment.state / "ledger.db")

    def _tracebacks(self) -> list[str]:
        """Sentences about tracebacks in the logs of roles."""
        return [
            f"{member.name} printed a traceback: {found.group().decode(errors='replace')}"
            for member in self._deployment.members
            for found in re.finditer(TRACEBACK, member.log.read_bytes())
        ]

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


@contextmanager
def _logged(file: Path) -> Iterator[None]:
    """Write into a file what is done, at which instant."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def _evidence(traffic: Traffic, told: Told) -> Evidence:
    """What is known from outside."""
    return Evidence(
        receipts=traffic.receipts.by_id,
        listed=told.listed,
        audits=told.audits,
        large=told.large,
        changed=told.changed,
        problems=list(traffic.receipts.problems),
    )


def is_left_over(queue: QueueRow) -> bool:
    """Whether there is something in a queue that ought to be empty when all is over.

    Dead letters stay, and so do cancellations, for a while; what has a name of the server's own is
    a process's ears.
    """
    if queue.name.endswith(".dead") or queue.name.startswith("amq.") or queue.type == "stream":
        return False
    return bool(queue.ready or queue.leased)
