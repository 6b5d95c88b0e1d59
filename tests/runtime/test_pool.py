"""Pools with real zygotes and replicas, over the memory broker."""

import asyncio
import dataclasses
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from runtime import departures
from runtime.blobs import Blobs
from runtime.brokers import QueueSpec
from runtime.brokers.memory import MemoryBroker
from runtime.devices import GpuSlots, Machine
from runtime.function import Batching, FunctionSpec, Resources, spec_from_json
from runtime.lifeline import ReplicaLife
from runtime.model import Failure, Message, Outcome, Payload, Status, new_id
from runtime.pool import Pool
from runtime.process import ReplicaProcess
from runtime.zygote import ForkServer, Zygote, ZygoteGone
from tests.support import Inbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

WILD = Path(__file__).parent / "wild_functions"
MACHINE = Machine(2, 8 * 2**30, (), False, ("cpu",), 0)
WITHIN = 10.0  # seconds until a wait is given up


@dataclass
class Told:
    """A reporter that remembers, and can be waited for."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    finals: dict[str, Message] = field(default_factory=dict)
    starts: list[Message] = field(default_factory=list)
    retries: list[tuple[Message, Failure]] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    output: dict[str, bytes] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def started(self, message: Message, process: ReplicaProcess, at: float) -> None:
        self.starts.append(message)

    def progressed(self, message: Message, event: bytes) -> None:
        self.events.append((message.id, orjson.loads(event)))

    def wrote(self, message: Message, data: bytes) -> None:
        self.output[message.id] = self.output.get(message.id, b"") + data

    def retried(
        self,
        message: Message,
        process: ReplicaProcess,
        error: Failure,
        started_at: float,
        *,
        counted: bool = True,
    ) -> None:
        self.retries.append((message, error))

    def given_up(self, message: Message, error: Failure) -> None:
        self.finished(message, None, Outcome(Status.DEAD, error=error))

    def finished(self, message: Message, process: ReplicaProcess | None, outcome: Outcome) -> None:
        assert message.id not in self.outcomes, "a second outcome"
        self.outcomes[message.id] = outcome
        self.finals[message.id] = message


async def until(probe: Callable[[], Any], within: float = WITHIN) -> Any:
    """The first true value of `probe`, asked again at every turn of the loop."""
    deadline = time.monotonic() + within
    while not (value := probe()):
        assert time.monotonic() < deadline, f"not within {within} s"
        await asyncio.sleep(0.002)
    return value


class Bench:
    """One pool, its broker and its reporter."""

    def __init__(self, pool: Pool, broker: MemoryBroker, told: Told) -> None:
        self.pool = pool
        self.broker = broker
        self.told = told

    def publish(self, **parameters: Any) -> str:
        """Put an invocation into the queue; gives its id."""
        return self.publish_payload(Payload(orjson.dumps(parameters)))

    def publish_payload(self, payload: Payload) -> str:
        message = Message(new_id(), self.pool.spec.name, "cpu", payload, time.time())
        self.broker.publish_now(self.pool.queue, message)
        return message.id

    async def outcome(self, id: str, within: float = WITHIN) -> Outcome:
        await until(lambda: id in self.told.outcomes, within)
        return self.told.outcomes[id]

    async def outcomes(self, ids: list[str], within: float = WITHIN) -> list[Outcome]:
        return [await self.outcome(id, within) for id in ids]

    async def call(self, **parameters: Any) -> Outcome:
        return await self.outcome(self.publish(**parameters))

    async def taken(self, id: str) -> ReplicaProcess:
        """The replica that has this invocation in hand."""

        def found() -> ReplicaProcess | None:
            return next(
                (p for p in self.pool.replicas if any(id in job.leases for job in p.jobs)), None
            )

        process = await until(found)
        assert isinstance(process, ReplicaProcess)
        return process


def value(outcome: Outcome) -> Any:
    """The JSON result of an invocation that succeeded."""
    assert outcome.status is Status.SUCCEEDED, outcome
    assert outcome.result and outcome.result.data is not None
    return orjson.loads(outcome.result.data)


def error(outcome: Outcome) -> Failure:
    """Why an invocation did not succeed."""
    assert outcome.error, outcome
    return outcome.error


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[ForkServer]:
    server = ForkServer(torch=False)
    yield server
    server.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def zygotes(server: ForkServer) -> AsyncIterator[dict[str, Zygote]]:
    """Zygotes by file name, made when first asked for."""
    found: dict[str, Zygote] = {}
    yield found
    for zygote in found.values():
        zygote.close()


Start = Callable[..., Awaitable[Bench]]
Provide = Callable[[FunctionSpec], Awaitable[Zygote]]


@pytest_asyncio.fixture(loop_scope="module")
async def start(
    server: ForkServer, zygotes: dict[str, Zygote], tmp_path: Path
) -> AsyncIterator[Start]:
    """Start a pool of a wild function: `await start("quick", replicas=2, timeout=1.0)`."""
    benches: list[Bench] = []

    async def start(
        name: str,
        file: str | None = None,
        replicas: int = 1,
        provide: Callable[[Zygote], Awaitable[Zygote]] | None = None,
        **changes: Any,
    ) -> Bench:
        path = str(WILD / f"{file or name}.py")
        if path not in zygotes or not zygotes[path].alive:
            zygotes[path] = await server.load(path)
        zygote = zygotes[path]
        assert not zygote.loaded["error"], zygote.loaded["error"]
        specs = {s["name"]: spec_from_json(s) for s in zygote.loaded["functions"]}
        broker, told = MemoryBroker(), Told()
        await broker.declare([QueueSpec(f"{name}.cpu")])

        async def give(_: FunctionSpec) -> Zygote:
            return await provide(zygote) if provide else zygote

        pool = Pool(
            dataclasses.replace(specs[name], **changes),
            "cpu",
            broker=broker,
            reporter=told,
            zygote=give,
            slots=GpuSlots(MACHINE),
            order={"blobs": tmp_path.as_uri(), "max_result": 2**26, "threads": 1},
            memory_limit=MACHINE.memory,
        )
        bench = Bench(pool, broker, told)
        benches.append(bench)
        await pool.open()
        pool.scale(replicas)
        if provide is None:
            await until(lambda: pool.counts().ready == replicas)
        return bench

    yield start
    for bench in benches:
        await bench.pool.drain(0)
        await bench.broker.close()


# ── short jobs, many at once ──────────────────────────────────────────────────────────────────────


async def pipelined(start: Start) -> Bench:
    """A pool that has learned that its function is short, and hands over many jobs at once."""
    bench = await start("quick")
    while bench.pool._pipeline < 16:
        await bench.outcomes([bench.publish() for _ in range(40)])
    return bench


async def test_short_jobs_are_handed_over_many_at_once(start: Start) -> None:
    bench = await pipelined(start)
    ids = [bench.publish(action="sleep", seconds=0.2), *(bench.publish() for _ in range(30))]
    await until(lambda: len(bench.pool.replicas[0].jobs) > 10)
    assert {o.status for o in await bench.outcomes(ids)} == {Status.SUCCEEDED}


async def test_long_jobs_are_handed_over_one_at_a_time(start: Start) -> None:
    bench = await start("doze", "slow", replicas=2)
    ids = [bench.publish(seconds=0.05) for _ in range(6)]
    most = 0
    while len(bench.told.outcomes) < len(ids):
        most = max(most, *(len(p.jobs) for p in bench.pool.replicas))
        await asyncio.sleep(0.005)
    assert most == 1
    assert len({value(o) for o in bench.told.outcomes.values()}) == 2


async def test_a_poison_among_short_jobs_is_the_only_one_that_dies(start: Start) -> None:
    bench = await pipelined(start)
    before = [bench.publish() for _ in range(8)]
    poison = bench.publish(action="die")
    after = [bench.publish() for _ in range(8)]
    outcomes = await bench.outcomes([*before, *after])
    assert {o.status for o in outcomes} == {Status.SUCCEEDED}
    assert (await bench.outcome(poison)).status is Status.DEAD
    assert {m.id for m, _ in bench.told.retries} == {poison}
    assert {bench.told.finals[id].attempt for id in (*before, *after)} == {1}


async def test_a_slow_one_among_short_jobs_is_the_only_one_that_times_out(start: Start) -> None:
    bench = await pipelined(start)
    before = [bench.publish() for _ in range(4)]
    slow = bench.publish(action="sleep", seconds=30)
    after = [bench.publish() for _ in range(4)]
    outcomes = await bench.outcomes([*before, *after])
    assert {o.status for o in outcomes} == {Status.SUCCEEDED}
    assert (await bench.outcome(slow)).status is Status.TIMED_OUT


async def test_the_outcome_of_a_short_job_never_waits_for_a_slow_one(start: Start) -> None:
    bench = await pipelined(start)
    short = [bench.publish() for _ in range(3)]
    slow = bench.publish(action="sleep", seconds=0.5)
    await bench.outcomes(short, within=0.4)
    assert slow not in bench.told.outcomes
    assert (await bench.outcome(slow)).status is Status.SUCCEEDED


async def test_the_timeout_counts_from_when_the_replica_begins(start: Start) -> None:
    bench = await pipelined(start)
    ids = [bench.publish(action="sleep", seconds=0.3) for _ in range(4)]  # 1.2 s of 0.6 allowed
    assert {o.status for o in await bench.outcomes(ids)} == {Status.SUCCEEDED}


# ── cancelling ────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancel_that_comes_late_does_not_reach_the_next_job(
    start: Start, tmp_path: Path
) -> None:
    bench = await start("obey", "slow")
    first, second = tmp_path / "first", tmp_path / "second"
    one = bench.publish(note=str(first))
    process = await bench.taken(one)
    await until(lambda: first.exists() and first.read_text() == "running")
    zygote = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(zygote, signal.SIGSTOP)  # the signal that cancels stays on the way
    try:
        assert bench.pool.cancel(one)
        assert process.pid
        os.kill(process.pid, signal.SIGUSR1)  # and is overtaken by this one
        await until(lambda: first.read_text() == "stopped")
        two = bench.publish(note=str(second))
        await until(lambda: second.exists() and second.read_text() == "running")
        bench.pool.scale(2)  # an order behind the signal
    finally:
        os.kill(zygote, signal.SIGCONT)
    await until(lambda: bench.pool.counts().running == 2 and not bench.pool.counts().starting)
    with pytest.raises(AssertionError, match=r"not within 0\.1 s"):
        await until(lambda: second.read_text() == "stopped", within=0.1)
    assert (await bench.taken(two)) is process
    assert bench.pool.cancel(two)
    await until(lambda: second.read_text() == "stopped")
    assert not bench.told.outcomes


async def test_what_is_cancelled_in_the_hands_of_a_busy_replica_never_runs(
    start: Start, tmp_path: Path
) -> None:
    bench = await pipelined(start)
    slow = bench.publish(action="sleep", seconds=0.3)
    notes = [tmp_path / str(n) for n in range(6)]
    ids = [bench.publish(note=str(note)) for note in notes]
    await until(lambda: len(bench.pool.replicas[0].jobs) == 7)
    assert all(bench.pool.cancel(id) for id in ids[1:4])
    await bench.outcomes([slow, ids[0], *ids[4:]])
    assert [note.exists() for note in notes] == [True, False, False, False, True, True]
    assert not set(ids[1:4]) & set(bench.told.outcomes)
    assert bench.broker.depth_now(bench.pool.queue).backlog == 0
    assert value(await bench.call()) == "pass"


async def test_nobody_can_cancel_what_no_replica_has(start: Start) -> None:
    bench = await start("doze", "slow")
    done = bench.publish(seconds=0)
    await bench.outcome(done)
    assert not bench.pool.cancel(done)
    assert not bench.pool.cancel("never heard of")


# ── retries ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "parameters", "attempts"),
    [
        ("by_name", {"kind": "itself", "succeed_at": 2}, 2),
        ("by_name", {"kind": "subclass", "succeed_at": 3}, 3),
        ("by_name", {"kind": "builtin", "succeed_at": 2}, 2),
        ("by_name", {"kind": "dotted", "succeed_at": 2}, 2),
        ("by_dotted_name", {"dotted": True, "succeed_at": 2}, 2),
    ],
)
async def test_what_raises_a_named_error_is_tried_again(
    start: Start, name: str, parameters: dict[str, Any], attempts: int
) -> None:
    bench = await start(name, "retrying")
    id = bench.publish(**parameters)
    assert value(await bench.outcome(id)) == attempts
    assert [m.attempt for m, _ in bench.told.retries] == list(range(1, attempts))
    assert bench.told.finals[id].attempt == attempts


@pytest.mark.parametrize(
    ("name", "parameters", "kind", "attempts"),
    [
        ("by_name", {"kind": "itself", "succeed_at": 9}, "ConnectionError", 3),
        ("by_name", {"kind": "other", "succeed_at": 2}, "ValueError", 1),
        ("by_dotted_name", {"dotted": False, "succeed_at": 2}, "ValueError", 1),
    ],
)
async def test_any_other_error_and_too_many_fail(
    start: Start, name: str, parameters: dict[str, Any], kind: str, attempts: int
) -> None:
    bench = await start(name, "retrying")
    id = bench.publish(**parameters)
    outcome = await bench.outcome(id)
    assert (outcome.status, error(outcome).type) == (Status.FAILED, kind)
    assert bench.told.finals[id].attempt == attempts


async def test_the_backoff_doubles_up_to_its_limit(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        ceilings.append(high)
        return 0.0

    monkeypatch.setattr(random, "uniform", uniform)
    bench = await start("patiently", "retrying")
    assert (await bench.call()).status is Status.FAILED
    assert ceilings == [8, 16, 32, 40, 40]
    assert [e.message for _, e in bench.told.retries] == [f"attempt {n}" for n in range(1, 6)]


async def test_a_retry_that_falls_due_during_a_drain_is_kept_for_later(
    start: Start, tmp_path: Path
) -> None:
    bench = await start("at_the_gate", "retrying")
    id = bench.publish(gate=str(tmp_path / "gate"))
    await bench.taken(id)
    draining = asyncio.create_task(bench.pool.drain(10))
    await until(lambda: bench.pool.counts().draining)
    (tmp_path / "gate").touch()
    await draining
    assert not bench.told.outcomes
    assert [m.id for m, _ in bench.told.retries] == [id]
    assert bench.broker.depth_now(bench.pool.queue).ready == 1


# ── batches ───────────────────────────────────────────────────────────────────────────────────────


async def test_requests_are_gathered_and_each_gets_its_own_answer(start: Start) -> None:
    bench = await start("together", "batches")
    ids = [bench.publish(x=x) for x in range(7)]
    answers = [value(o) for o in await bench.outcomes(ids)]
    assert [a["x"] for a in answers] == list(range(7))
    assert [a["with"] for a in answers] == [4, 4, 4, 4, 3, 3, 3]
    outcome = bench.told.outcomes[ids[0]]
    assert outcome.log == "batch of 4\n"
    assert outcome.phases and "forward" in outcome.phases


@pytest.mark.parametrize(
    ("action", "kind", "message"),
    [
        ("bad", "ValueError", "bad 1"),
        ("odd", "ResultNotSerializable", "a object, which has no JSON form"),
    ],
)
async def test_one_that_fails_in_a_batch_fails_alone(
    start: Start, action: str, kind: str, message: str
) -> None:
    bench = await start("together", "batches")
    ids = [bench.publish(x=x, action=action if x == 1 else "pass") for x in range(4)]
    outcomes = await bench.outcomes(ids)
    assert [value(o)["x"] for o in outcomes if o.status is Status.SUCCEEDED] == [0, 2, 3]
    assert error(outcomes[1]).type == kind and message in error(outcomes[1]).message


async def test_one_that_fails_its_schema_is_left_out_of_the_batch(start: Start) -> None:
    bench = await start("together", "batches")
    ids = [bench.publish(x=x) for x in (0, -1, 2, 3)]
    outcomes = await bench.outcomes(ids)
    assert error(outcomes[1]).details == {
        "errors": [["/x", "Input should be greater than or equal to 0"]]
    }
    assert [value(outcomes[n]) for n in (0, 2, 3)] == [
        {"x": x, "with": 3, "length": 0} for x in (0, 2, 3)
    ]


@pytest.mark.parametrize(
    ("action", "kind", "message"),
    [
        ("raise", "ValueError", "the whole batch"),
        ("too few", "ResultNotSerializable", "a list of 4 results.*returned a list of 1"),
    ],
)
async def test_a_batch_that_raises_fails_as_a_whole(
    start: Start, action: str, kind: str, message: str
) -> None:
    bench = await start("together", "batches")
    ids = [bench.publish(x=x, action=action if x == 1 else "pass") for x in range(4)]
    for outcome in await bench.outcomes(ids):
        assert error(outcome).type == kind
        assert re.search(message, error(outcome).message)


async def test_a_batch_that_kills_its_replica_is_tried_one_by_one(start: Start) -> None:
    bench = await start("together", "batches")
    ids = [bench.publish(x=x, action="die" if x == 1 else "pass") for x in range(4)]
    outcomes = await bench.outcomes(ids)
    assert [o.status is Status.SUCCEEDED for o in outcomes] == [True, False, True, True]
    assert outcomes[1].status is Status.DEAD
    assert [value(outcomes[n])["with"] for n in (0, 2, 3)] == [1, 1, 1]
    assert [bench.told.finals[id].attempt for id in ids] == [2, 3, 2, 2]


async def test_even_the_last_attempt_of_a_batch_does_not_kill_the_innocent(start: Start) -> None:
    bench = await start("together", "batches", max_attempts=1)
    ids = [bench.publish(x=x, action="die" if x == 3 else "pass") for x in range(4)]
    outcomes = await bench.outcomes(ids)
    assert [o.status for o in outcomes] == [Status.SUCCEEDED] * 3 + [Status.DEAD]


async def test_one_of_a_batch_is_retried_alone(start: Start) -> None:
    bench = await start("again", "batches")
    ids = [bench.publish(x=x, action="flaky" if x == 2 else "pass") for x in range(4)]
    assert [value(o) for o in await bench.outcomes(ids)] == [0, 1, 2, 3]
    assert [bench.told.finals[id].attempt for id in ids] == [1, 1, 2, 1]


async def test_a_batch_over_its_timeout_times_out_as_a_whole(start: Start) -> None:
    bench = await start("again", "batches")
    ids = [bench.publish(x=x, action="sleep") for x in range(2)]
    assert {o.status for o in await bench.outcomes(ids)} == {Status.TIMED_OUT}
    assert value(await bench.call(x=5)) == 5


async def test_a_batch_takes_inputs_that_lie_in_the_blob_store(
    start: Start, tmp_path: Path
) -> None:
    bench = await start("together", "batches")
    large = orjson.dumps({"x": 1, "text": "t" * 300_000})
    Blobs(tmp_path.as_uri()).write("one/.input", large)
    ids = [
        bench.publish(x=0, text="a"),
        bench.publish_payload(Payload(None, (), "one/.input")),
        bench.publish_payload(Payload(None, (), "gone/.input")),
        bench.publish(x=3, text="bc"),
    ]
    outcomes = await bench.outcomes(ids)
    assert [value(outcomes[n])["length"] for n in (0, 1, 3)] == [1, 300_000, 2]
    assert error(outcomes[2]).type == "FileNotFoundError"


async def test_one_that_is_cancelled_while_it_is_gathered_never_runs(start: Start) -> None:
    bench = await start("together", "batches")
    ids = [bench.publish(x=x) for x in range(3)]
    await until(lambda: bench.broker.depth_now(bench.pool.queue).ready == 0)
    assert bench.pool.cancel(ids[1])
    outcomes = await bench.outcomes([ids[0], ids[2]])
    assert [value(o)["with"] for o in outcomes] == [2, 2]
    assert bench.broker.depth_now(bench.pool.queue).backlog == 0


async def test_a_batch_of_hundreds_is_handed_over(start: Start) -> None:
    bench = await start("together", "batches", batching=Batching(max_size=600, max_wait=5))
    ids = [bench.publish(x=x) for x in range(600)]
    assert {value(o)["with"] for o in await bench.outcomes(ids)} == {600}


# ── another version ───────────────────────────────────────────────────────────────────────────────


async def test_another_version_lets_what_runs_finish(start: Start) -> None:
    bench = await start("doze", "slow")
    id = bench.publish(seconds=0.3)
    old = await bench.taken(id)
    bench.pool.replace(dataclasses.replace(bench.pool.spec, version="next"))
    new = await bench.call(seconds=0)
    assert id not in bench.told.outcomes or value(bench.told.outcomes[id]) == old.pid
    assert value(new) != old.pid
    assert value(await bench.outcome(id)) == old.pid
    await until(lambda: old not in bench.pool.replicas)


async def test_what_the_old_version_still_runs_does_not_hold_up_the_new(
    start: Start, tmp_path: Path
) -> None:
    bench = await start("obey", "slow")
    old, new = tmp_path / "old", tmp_path / "new"
    id = bench.publish(note=str(old))
    await until(old.exists)
    bench.pool.replace(dataclasses.replace(bench.pool.spec, version="next"))
    bench.publish(note=str(new))
    await until(new.exists)
    assert old.read_text() == "running"
    waiting = tmp_path / "waiting"
    bench.publish(note=str(waiting))
    bench.pool.cancel(id)
    await until(lambda: bench.pool.counts().draining == 0)
    depth = bench.broker.depth_now(bench.pool.queue)
    assert (depth.ready, depth.unacknowledged) == (1, 1)  # nobody waits in a busy replica's hands


async def test_a_version_may_begin_and_cease_to_batch(start: Start) -> None:
    bench = await start("together", "batches")
    batched = bench.pool.spec
    bench.pool.replace(dataclasses.replace(batched, batching=Batching(1)))
    ids = [bench.publish(x=x) for x in range(3)]
    assert [value(o)["with"] for o in await bench.outcomes(ids)] == [1, 1, 1]
    bench.pool.replace(dataclasses.replace(batched, batching=Batching(3, 5)))
    await until(lambda: bench.pool.counts().ready == 1)
    ids = [bench.publish(x=x) for x in range(3)]
    assert [value(o)["with"] for o in await bench.outcomes(ids)] == [3, 3, 3]


async def test_what_was_gathered_for_a_batch_is_run_by_a_version_without(start: Start) -> None:
    bench = await start("quick", batching=Batching(4, max_wait=0.3))
    ids = [bench.publish() for _ in range(3)]
    await until(lambda: bench.broker.depth_now(bench.pool.queue).ready == 0)
    bench.pool.replace(dataclasses.replace(bench.pool.spec, batching=None))
    assert [value(o) for o in await bench.outcomes(ids)] == ["pass"] * 3


async def test_a_pool_of_single_calls_may_become_one_of_batches(
    start: Start, zygotes: dict[str, Zygote]
) -> None:
    bench = await start("quick")
    assert value(await bench.call()) == "pass"
    batches = await start("together", "batches")
    zygote = zygotes[str(WILD / "batches.py")]

    async def give(_: FunctionSpec) -> Zygote:
        return zygote

    bench.pool._zygote = give
    bench.pool.replace(dataclasses.replace(batches.pool.spec, name="quick"))
    ids = [bench.publish(x=x) for x in range(4)]
    assert [value(o)["with"] for o in await bench.outcomes(ids)] == [4, 4, 4, 4]


async def test_the_memory_limit_is_that_of_the_version(start: Start) -> None:
    bench = await start("eat", "endings", resources=Resources(memory=60 * 2**20), max_attempts=1)
    assert error(await bench.call(mebibytes=400)).type == "MemoryLimit"
    bench.pool.replace(dataclasses.replace(bench.pool.spec, resources=Resources()))
    assert value(await bench.call(mebibytes=100)) == 5


# ── starts and ends ───────────────────────────────────────────────────────────────────────────────


async def test_a_zygote_that_is_gone_is_asked_for_again_after_a_while(start: Start) -> None:
    asked: list[float] = []

    async def provide(zygote: Zygote) -> Zygote:
        asked.append(time.monotonic())
        if len(asked) < 3:
            raise ZygoteGone(f"gone {len(asked)}")
        return zygote

    bench = await start("quick", provide=provide)
    await until(lambda: bench.pool.failed_starts == 2)
    assert bench.pool.trouble == "replicas die while starting (2 in a row): gone 2"
    assert value(await bench.call()) == "pass"
    assert bench.pool.trouble is None and bench.pool.failed_starts == 0
    assert asked[1] - asked[0] >= 0.5 and asked[2] - asked[1] >= 1.0


async def test_a_replica_whose_zygote_still_loads_does_not_hold_up_anybody(start: Start) -> None:
    never = asyncio.get_running_loop().create_future()

    async def provide(zygote: Zygote) -> Zygote:
        await asyncio.shield(never)
        return zygote

    bench = await start("quick", provide=provide)
    await until(lambda: bench.pool.counts().starting == 1)
    bench.pool.scale(0)
    assert not bench.pool.replicas
    bench.pool.scale(1)
    assert bench.pool.counts().starting == 1
    await asyncio.wait_for(bench.pool.drain(5), 2)
    never.set_result(None)


async def test_a_busy_replica_that_is_scaled_away_finishes_first(start: Start) -> None:
    bench = await start("doze", "slow")
    id = bench.publish(seconds=0.2)
    process = await bench.taken(id)
    bench.pool.scale(0)
    assert bench.pool.counts().draining == 1
    assert value(await bench.outcome(id)) == process.pid
    await until(lambda: not bench.pool.replicas)


async def test_what_a_drain_has_no_time_for_goes_back_uncounted(start: Start) -> None:
    bench = await start("obey", "slow")
    id = bench.publish(note="/dev/null")
    waiting = bench.publish(note="/dev/null")
    await bench.taken(id)
    await bench.pool.drain(0.1)
    assert not bench.told.outcomes
    depth = bench.broker.depth_now(bench.pool.queue)
    assert (depth.ready, depth.unacknowledged) == (2, 0)
    inbox = await Inbox.open(bench.broker, bench.pool.queue, 2)
    back = [(await inbox.receive()).message for _ in range(2)]
    assert [(m.id, m.attempt) for m in back] == [(id, 1), (waiting, 1)]


async def test_what_a_dead_replica_had_goes_to_a_new_one_and_not_behind_a_busy_one(
    start: Start, tmp_path: Path
) -> None:
    bench = await start("obey", "slow", replicas=2)
    notes = [tmp_path / "one", tmp_path / "two"]
    ids = [bench.publish(note=str(note)) for note in notes]
    await until(lambda: all(note.exists() for note in notes))
    victim = await bench.taken(ids[1])
    notes[1].unlink()
    assert victim.pid
    os.kill(victim.pid, signal.SIGKILL)
    await until(notes[1].exists)
    assert [len(p.jobs) for p in bench.pool.replicas] == [1, 1]
    assert not bench.told.outcomes


async def test_who_is_killed_for_anothers_sake_is_not_blamed(start: Start, tmp_path: Path) -> None:
    bench = await start("obey", "slow")
    note = tmp_path / "note"
    id = bench.publish(note=str(note))
    await until(note.exists)
    note.unlink()
    (await bench.taken(id)).kill("timeout")
    await until(note.exists)
    bench.pool.cancel(id)
    assert [m.attempt for m in bench.told.starts] == [1, 1]
    assert not bench.told.retries


async def test_output_that_never_ends_is_taken_in_turns(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await start("quick")
    (process,) = bench.pool.replicas
    with monkeypatch.context() as patched:
        patched.setattr(os, "read", lambda fd, size: b"more")
        process.read_output()
    assert 0 < process.start_output.written < 1000


async def test_a_death_is_heard_of_though_a_daemon_holds_the_socket(start: Start) -> None:
    bench = await start("leave_a_daemon", "processes")
    outcome = await bench.outcome(bench.publish(seconds=4), within=3)
    assert (outcome.status, error(outcome).details["ending"]) == (Status.DEAD, "exit status 4")


# ── what replicas are remembered for ──────────────────────────────────────────────────────────────


def living(bench: Bench) -> list[ReplicaLife]:
    return [life for life in bench.pool.lives() if life.state != "ended"]


async def ended(bench: Bench, count: int = 1) -> list[ReplicaLife]:
    """The lives of those that ended, once there are so many."""

    def found() -> list[ReplicaLife]:
        return [life for life in bench.pool.lives() if life.state == "ended"]

    return list(await until(lambda: lives if len(lives := found()) >= count else None))


async def test_a_replica_is_told_of_while_it_lives(start: Start) -> None:
    before = time.time()
    bench = await start("doze", "slow")
    id = bench.publish(seconds=0.3)
    process = await bench.taken(id)
    (life,) = bench.pool.lives()
    assert (life.name, life.pid, life.function, life.device) == (
        process.name,
        process.pid,
        "doze",
        "cpu",
    )
    assert (life.state, life.served, life.ended_at, life.ending) == ("busy", 0, None, None)
    assert life.memory > 2**20 and life.gpu is None and not life.simulated
    assert life.ready_at is not None and before <= life.spawned_at <= life.ready_at
    assert [s.state for s in life.segments][:2] == ["starting", "ready"]
    await bench.outcome(id)
    (life,) = bench.pool.lives()
    assert (life.state, life.served) == ("ready", 1)
    assert 0.25 < life.busy < 5
    assert [s.state for s in life.segments] == ["starting", "ready", "busy", "ready"]


async def test_short_jobs_that_follow_at_once_are_one_segment(start: Start) -> None:
    bench = await start("quick")
    for _ in range(20):
        await bench.call()
    (life,) = bench.pool.lives()
    states = [s.state for s in life.segments]
    assert states[:2] == ["starting", "ready"]
    assert states.count("busy") <= 3, "one, but where this machine paused"
    assert life.served == 20


async def test_a_replica_that_is_scaled_in_is_remembered_for_a_while(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await start("quick")
    bench.pool.scale(0)
    (life,) = await ended(bench)
    assert life.ending == "scaled in"
    assert life.ended_at is not None and life.segments[-1].end == life.ended_at
    assert life.segments[-1].state == "draining" and life.memory == 0
    assert bench.pool.lives() == [life]
    monkeypatch.setattr(departures, "REMEMBERED", -1.0)
    assert bench.pool.lives() == []


async def test_a_busy_replica_that_is_scaled_in_ends_as_such(start: Start) -> None:
    bench = await start("doze", "slow")
    id = bench.publish(seconds=0.2)
    await bench.taken(id)
    bench.pool.scale(0)
    (life,) = bench.pool.lives()
    assert life.state == "draining"
    (life,) = await ended(bench)
    assert life.ending == "scaled in" and life.served == 1
    assert [s.state for s in life.segments] == ["starting", "ready", "busy", "draining"]


async def test_a_killed_replica_says_by_which_signal(start: Start) -> None:
    bench = await start("quick")
    (process,) = bench.pool.replicas
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    (life,) = await ended(bench)
    assert life.ending == "killed by signal 9 (SIGKILL)"
    assert life.pid == process.pid


async def test_a_timed_out_replica_says_so(start: Start) -> None:
    bench = await start("doze", "slow", timeout=0.1)
    await bench.outcome(bench.publish(seconds=30))
    (life,) = await ended(bench)
    assert life.ending == "killed: an invocation ran over its timeout"


async def test_a_replica_that_held_too_much_memory_says_so(start: Start) -> None:
    small = Resources(memory=60 * 2**20)
    bench = await start("eat", "endings", resources=small, max_attempts=1)
    await bench.call(mebibytes=400)
    (life,) = await ended(bench)
    assert life.ending == "killed: out of memory, it held more than it may"


async def test_a_replica_whose_invocation_is_cancelled_for_good_says_so(
    start: Start, tmp_path: Path
) -> None:
    bench = await start("obey", "slow")
    note = tmp_path / "note"
    id = bench.publish(note=str(note), polite=False)
    await until(note.exists)
    assert bench.pool.cancel(id)
    (life,) = await ended(bench)
    assert life.ending == "killed: an invocation was cancelled"


async def test_a_replica_of_an_earlier_version_says_so(start: Start) -> None:
    bench = await start("quick")
    bench.pool.replace(bench.pool.spec)
    (life,) = await ended(bench)
    assert life.ending == "replaced by another version of the function"
    await until(lambda: [life.state for life in living(bench)] == ["ready"])


async def test_a_replica_that_cannot_be_forked_says_why(start: Start) -> None:
    async def provide(zygote: Zygote) -> Zygote:
        raise ZygoteGone("the zygote is gone")

    bench = await start("quick", provide=provide)
    (life,) = await ended(bench)
    assert life.ending == "it could not start: the zygote is gone"
    assert (life.pid, life.ready_at) == (None, None)
    assert [s.state for s in life.segments] == ["starting"]


async def test_a_replica_whose_setup_fails_says_why(start: Start, tmp_path: Path) -> None:
    async def provide(zygote: Zygote) -> Zygote:
        return zygote

    bench = await start("fussy", "keeping", provide=provide)
    (life, *_) = await ended(bench)
    assert life.ending is not None
    assert life.ending.startswith("its setup failed: FileNotFoundError: ")


async def test_a_replica_that_is_drained_says_that_its_worker_ended(start: Start) -> None:
    bench = await start("obey", "slow", replicas=2)
    await bench.taken(bench.publish(note="/dev/null"))
    await bench.pool.drain(0.1)
    assert {life.ending for life in await ended(bench, 2)} == {
        "its worker ended",
        "killed: its worker ended, and the grace period was over",
    }


async def test_of_a_crash_loop_only_so_many_are_remembered(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "MAX_REMEMBERED", 3)
    bench = await start("quick")
    for _ in range(5):
        bench.pool.replace(bench.pool.spec)
        await until(lambda: [life.state for life in living(bench)] == ["ready"])
    assert len(await ended(bench, 3)) == 3


# ── who is to blame ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("burst", [1, 8, 40])
async def test_a_replica_that_alone_fails_is_taken_out_however_calls_come(
    start: Start, tmp_path: Path, burst: int
) -> None:
    """Also where all of them would fit into its hands, and no other would be asked."""
    bench = await start("fails_here", "blamed", replicas=2)
    broken = bench.pool.replicas[0]
    (tmp_path / "broken").write_text(f"{broken.pid}")
    while broken in bench.pool.replicas:
        await bench.outcomes([bench.publish(folder=str(tmp_path)) for _ in range(burst)])
    ended = [life for life in bench.pool.lives() if life.name == broken.name]
    assert ended[0].ending and ended[0].ending.startswith("taken out: it failed ")
    await until(lambda: bench.pool.counts().ready == 2)
    after = [bench.publish(folder=str(tmp_path)) for _ in range(20)]
    assert {o.status for o in await bench.outcomes(after)} == {Status.SUCCEEDED}
    assert all(error(o).type == "RuntimeError" for o in bench.told.outcomes.values() if o.error)


async def test_what_waits_in_a_replica_that_is_taken_out_is_run_by_another_once(
    start: Start,
) -> None:
    bench = await start("quick", replicas=2, timeout=5.0)
    while bench.pool._pipeline < 16:
        await bench.outcomes([bench.publish() for _ in range(40)])
    first = bench.publish(action="sleep", seconds=1.5)
    holder = await bench.taken(first)
    await until(lambda: holder.running() is holder.jobs[0])
    ids = [bench.publish() for _ in range(12)]
    await until(lambda: len(holder.jobs) > 1)
    waiting = {id for job in holder.jobs for id in job.leases} - {first}
    served = sum(p.served for p in bench.pool.replicas if p is not holder)
    bench.pool._let_go(holder, "taken out: by a test")
    bench.pool._take_back(holder)
    bench.pool._set_capacity()
    assert {o.status for o in await bench.outcomes(ids)} == {Status.SUCCEEDED}
    assert waiting and first not in bench.told.outcomes
    others = sum(p.served for p in bench.pool.replicas if p is not holder) - served
    assert others == len(ids), "some of them ran twice, or here"
    assert {bench.told.finals[id].attempt for id in ids} == {1}
    assert (await bench.outcome(first)).status is Status.SUCCEEDED
    await until(lambda: holder not in bench.pool.replicas)


async def test_a_function_that_dies_everywhere_takes_nobody_out(start: Start) -> None:
    bench = await start("quick", replicas=2, max_attempts=1)
    ids = [bench.publish(action="die") for _ in range(14)]
    assert {o.status for o in await bench.outcomes(ids)} == {Status.DEAD}
    endings = [life.ending for life in bench.pool.lives() if life.ending]
    assert endings and not any("taken out" in ending for ending in endings)
    await until(lambda: any(p.conduct.in_a_row for p in bench.pool.replicas))
