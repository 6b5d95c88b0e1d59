"""Open and closed loops against servers that stall, refuse, throttle, cut and die."""

import asyncio
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtest.address import check_url
from loadtest.client import Client, Ended
from loadtest.latencies import Latencies
from loadtest.outcome import Fault, Group
from loadtest.plan import Plan
from loadtest.servers import certificate
from loadtest.tally import Tally
from tests.loadtest.standin import Asked, Reply, StandIn, http, ok, problem

MIX = [{"function": "work", "device": "cpu"}]
SHORT = 0.4  # seconds of silence after which a server is gone, where a test wants it to be


class Load:
    """A plan that was run against a server, and what came of it."""

    def __init__(self, client: Client, ended: Ended) -> None:
        self.tally: Tally = client.tally
        self.ended = ended
        self.peak = client.pool.peak
        self.groups: dict[str, Group] = {g.status: g for g in client.tally.groups()}
        self.faults: dict[str, Fault] = {f.name: f for f in client.tally.faults()}
        self.rows = client.tally.series()

    def count(self, status: str) -> int:
        return self.groups[status].count if status in self.groups else 0

    @property
    def over(self) -> int:
        """Requests that ended, and those that nobody knows the end of."""
        return sum(group.count for group in self.groups.values()) + self.ended.unanswered

    def latencies(self, status: str = "succeeded") -> Latencies:
        return Latencies.decode(self.groups[status].phases["total"])

    def above(self, seconds: float) -> int:
        """How many successes took longer."""
        return sum(n for value, n in self.latencies().counts() if value > seconds)


def plan(*stages: dict[str, Any], **more: Any) -> Plan:
    return Plan.model_validate({"stages": stages, "mix": MIX, **more})


def closed(connections: int, seconds: float, **more: Any) -> dict[str, Any]:
    return {"kind": "closed", "connections": connections, "seconds": seconds, **more}


def constant(rate: float, seconds: float) -> dict[str, Any]:
    return {"kind": "constant", "rate": rate, "seconds": seconds}


async def send(
    server: StandIn,
    what: Plan,
    *,
    silence: float | None = None,
    stop: asyncio.Event | None = None,
    hurry: asyncio.Event | None = None,
    began: Callable[[], None] = lambda: None,
) -> Load:
    client = Client(what, check_url(server.url), Path(), silence)
    return Load(client, await client.run(stop, hurry, began))


# ── latency ───────────────────────────────────────────────────────────────────────────────────


class Stalling:
    """Answers in a millisecond, but for one second in which it answers nothing."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._began = 0.0

    def begin(self) -> None:
        self._began = time.monotonic()

    async def __call__(self, asked: Asked) -> Reply:
        await asyncio.sleep(0.001)
        at = time.monotonic() - self._began
        if self._after <= at < self._after + 1:
            await asyncio.sleep(self._after + 1 - at)
        return http()


async def test_a_stall_counts_for_every_request_that_was_due_in_it() -> None:
    """200 a second for 2 s, of which the server stalls for 1: of 400 requests 200 are due in the
    stall, and wait for what is left of it, a time that is uniform between 0 and 1 s."""

    async def stalled(connections: int) -> Load:
        stalling = Stalling(after=0.5)
        async with StandIn(stalling) as server:
            what = plan(constant(200, 2), connections=connections)
            return await send(server, what, began=stalling.begin)

    # With few connections, most of those requests are not even sent before the stall is over.
    few, many = await asyncio.gather(stalled(16), stalled(512))
    for load in (few, many):
        assert load.count("succeeded") == load.over == 400
        for share in (0.75, 0.5, 0.25):
            assert load.above(share) == pytest.approx(200 * (1 - share), rel=0.35)
        assert load.latencies().percentile(99) > 0.9
    assert few.peak <= 16 and max(row.held for row in few.rows) > 50
    assert many.peak <= 512 and max(row.held for row in many.rows) < 20


async def test_a_closed_loop_sees_a_stall_once_for_each_connection() -> None:
    """What measuring from the time of sending would tell of the same server."""
    stalling = Stalling(after=0.5)
    async with StandIn(stalling) as server:
        load = await send(server, plan(closed(1, 2)), began=stalling.begin)
    assert load.above(0.25) == 1
    assert load.count("succeeded") > 50
    assert load.latencies().percentile(95) < 0.25


async def test_latency_includes_the_wait_for_a_connection_and_is_not_lateness() -> None:
    async def slow(asked: Asked) -> Reply:
        await asyncio.sleep(0.1)
        return http()

    async with StandIn(slow) as server:
        load = await send(server, plan(constant(20, 0.5), connections=1))
    assert load.count("succeeded") == 10  # one after the other, 0.05 s further behind each
    assert load.latencies().percentile(100) > 0.5
    assert load.rows[0].late < 0.2
    assert any(row.capped for row in load.tally.rows)


# ── loops ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_closed_loop_never_has_more_connections_than_it_was_given() -> None:
    async with StandIn() as server:
        load = await send(server, plan(closed(7, 0.5), connections=2))
        assert server.connections == load.peak == 7
        assert load.count("succeeded") == server.requests == load.over
    assert sum(row.intended for row in load.rows) == sum(row.sent for row in load.rows)
    assert load.ended.unanswered == 0
    assert load.ended.interrupted is None


async def test_a_closed_loop_ends_after_its_requests() -> None:
    async with StandIn() as server:
        load = await send(server, plan(closed(4, 60, requests=25)))
    assert load.count("succeeded") == server.requests == 25
    assert load.ended.seconds < 30


async def test_users_think_between_an_answer_and_the_next_request() -> None:
    async with StandIn() as server:
        load = await send(server, plan(closed(3, 0.5, think=0.2)))
    assert load.count("succeeded") == 9  # at 0, 0.2 and 0.4 s
    assert load.latencies().percentile(100) < 0.2


async def test_an_open_loop_sends_each_request_when_it_is_due() -> None:
    arrived: list[float] = []

    async def note(asked: Asked) -> Reply:
        arrived.append(time.monotonic())
        return http()

    async with StandIn(note) as server:
        load = await send(server, plan(constant(50, 1)))
    assert load.count("succeeded") == 50
    gaps = [at - arrived[0] - number / 50 for number, at in enumerate(arrived)]
    assert max(abs(gap) for gap in gaps) < 0.5
    assert sum(abs(gap) < 0.02 for gap in gaps) > 25


async def test_stages_follow_each_other_and_the_pauses_between_count() -> None:
    async with StandIn() as server:
        steps = {"kind": "step", "rates": [20, 0], "each": 0.5}
        load = await send(server, plan(steps, closed(2, 10, requests=4), constant(20, 0.5)))
    assert load.count("succeeded") == 10 + 4 + 10
    assert 1.5 <= load.ended.seconds < 8


async def test_a_server_that_closes_after_each_answer_is_reconnected_to() -> None:
    async def close(asked: Asked) -> Reply:
        return http(headers={"Connection": "close"})

    async with StandIn(close) as server:
        load = await send(server, plan(closed(2, 60, requests=20)))
        assert server.connections == 20
    assert load.count("succeeded") == 20
    assert not load.faults


async def test_an_idle_connection_that_the_server_ends_is_no_fault() -> None:
    async with StandIn() as server:

        def hang_up() -> None:
            async def later() -> None:
                await asyncio.sleep(0.25)
                await server.stop()
                await server.start()

            tasks.append(asyncio.create_task(later()))

        tasks: list[asyncio.Task[None]] = []
        load = await send(server, plan(closed(1, 0.6, think=0.4)), began=hang_up)
        await asyncio.gather(*tasks)
    assert load.count("succeeded") == load.over == 2
    assert server.connections == 2


# ── answers ───────────────────────────────────────────────────────────────────────────────────


async def test_what_an_answer_says_of_itself_is_kept() -> None:
    async def answer(asked: Asked) -> Reply:
        headers = {
            "Invocation-Device": "gpu",
            "Invocation-Simulated": "true",
            "Server-Timing": "queue;dur=1, start;dur=20, run;dur=3",
        }
        return http(headers=headers)

    async with StandIn(answer) as server:
        load = await send(server, plan(closed(1, 60, requests=3)))
    group = load.groups["succeeded"]
    assert (group.function, group.device, group.simulated) == ("work", "gpu", True)
    assert group.phases.keys() == {"total", "queue", "start", "run"}
    assert [cold.start for cold in load.tally.colds] == [0.02] * 3


async def test_a_429_is_waited_out_and_its_wait_is_part_of_the_latency() -> None:
    async def twice(asked: Asked) -> Reply:
        if asked.number <= 2:
            return problem(429, "lumbre:Overloaded", "full", {"Retry-After": "1"})
        return http()

    async with StandIn(twice) as server:
        load = await send(server, plan(constant(1, 1.5), timeout=0.3))
    assert load.tally.throttled == sum(row.throttled for row in load.rows) == 2
    assert load.count("succeeded") == load.over == 2
    assert not load.faults
    # Twice the plan's timeout, which bounds what a server may ask for.
    assert 0.55 < load.latencies().percentile(100) < 0.95
    assert sum(row.sent for row in load.rows) == 4
    assert sum(row.intended for row in load.rows) == 2


async def test_a_request_that_is_throttled_to_the_end_is_neither_success_nor_fault() -> None:
    async def full(asked: Asked) -> Reply:
        return problem(429, "lumbre:Overloaded", "the queue is full", {"Retry-After": "0"})

    async with StandIn(full) as server:
        load = await send(server, plan(closed(2, 60, requests=4), retries=2))
        assert server.requests == 12
    assert load.count("throttled") == load.over == 4
    assert load.tally.throttled == 12
    assert sum(row.faults for row in load.rows) == sum(row.succeeded for row in load.rows) == 0
    assert load.faults["throttled"].example == "429 the queue is full"


async def test_every_kind_of_failure_has_its_name_and_an_example() -> None:
    answers = [
        problem(500, "lumbre:failed", "ValueError: odd", {"Invocation-Id": "abc"}),
        problem(502, "lumbre:dead", "signal 9"),
        problem(504, "lumbre:timed_out", "over 2 s"),
        problem(503, "lumbre:Unavailable", "no GPU", {"Retry-After": "5"}),
        problem(422, "lumbre:InvalidInput", "n: is too large"),
        problem(404, "lumbre:NotFound", "no such function"),
        problem(413, "lumbre:TooLarge", "too large"),
        b"garbage\r\n\r\n",
        None,
        http(),
    ]

    async def answer(asked: Asked) -> Reply:
        return answers[(asked.number - 1) % len(answers)]

    async with StandIn(answer) as server:
        load = await send(server, plan(closed(1, 60, requests=20)))
    names = ["failed", "dead", "timed_out", "unavailable", "invalid_input", "unknown_function"]
    names += ["rejected", "bad_answer", "closed", "succeeded"]
    assert {name: load.count(name) for name in names} == dict.fromkeys(names, 2)
    assert load.over == 20
    failed = load.faults["failed"]
    assert (failed.example, failed.invocation) == ("500 ValueError: odd", "abc")
    assert sum(row.faults for row in load.rows) == 18


# ── trouble ───────────────────────────────────────────────────────────────────────────────────


async def test_a_request_that_is_not_answered_in_time_is_given_up() -> None:
    async def never(asked: Asked) -> Reply:
        if asked.number == 2:
            await asyncio.sleep(60)
        return http()

    async with StandIn(never) as server:
        load = await send(server, plan(closed(1, 60, requests=3), timeout=0.3))
    assert (load.count("succeeded"), load.count("no_answer")) == (2, 1)
    assert 0.3 <= load.latencies("no_answer").percentile(100) < 2
    assert "0.3 s" in load.faults["no_answer"].example


async def test_a_server_that_dies_ends_the_load_and_is_not_run_against() -> None:
    async def die(asked: Asked) -> Reply:
        if asked.number == 10:
            tasks.append(asyncio.create_task(server.stop()))
        return http()

    tasks: list[asyncio.Task[None]] = []
    async with StandIn(die) as server:
        load = await send(server, plan(constant(100, 60)), silence=SHORT)
        await asyncio.gather(*tasks)
    assert load.ended.interrupted == f"the server at {server.url} has not answered since second 0"
    assert load.ended.seconds < 20
    assert 9 <= load.count("succeeded") <= 11
    assert load.count("refused") > 10  # each request that was due meanwhile
    assert load.over == sum(row.intended for row in load.rows)


async def test_trying_to_reach_a_dead_server_is_paced() -> None:
    async with StandIn() as server:
        client = Client(plan(closed(8, 60)), check_url(server.url), Path(), 1.0)
        await server.stop()
        load = Load(client, await client.run())
    assert load.ended.interrupted is not None
    # After 0, 0.05, 0.15, 0.35, 0.75 s and then each second: every user each time.
    assert 8 <= load.count("refused") <= 8 * 8
    assert load.over == load.count("refused") + load.ended.unanswered
    assert load.ended.unanswered <= 8


async def test_a_server_that_comes_back_is_served_again() -> None:
    async def restart() -> None:
        await asyncio.sleep(0.3)
        await server.stop()
        await asyncio.sleep(0.3)
        await server.start()

    tasks: list[asyncio.Task[None]] = []
    async with StandIn() as server:
        load = await send(
            server,
            plan(constant(100, 2)),
            silence=30,
            began=lambda: tasks.append(asyncio.create_task(restart())),
        )
        await asyncio.gather(*tasks)
    assert load.ended.interrupted is None
    assert load.count("succeeded") > 60
    assert load.count("refused") > 0
    assert load.over == sum(row.intended for row in load.rows) == 200


async def test_a_stopped_load_waits_for_what_is_in_flight_and_tells_what_was_not_sent() -> None:
    stop, released = asyncio.Event(), asyncio.Event()

    async def hold(asked: Asked) -> Reply:
        if asked.number == 2:  # both connections are in use
            stop.set()
            asyncio.get_running_loop().call_later(0.5, released.set)
        await released.wait()
        return http()

    async with StandIn(hold) as server:
        load = await send(server, plan(constant(50, 60), connections=2), stop=stop)
    assert load.count("succeeded") == 2
    assert load.ended.interrupted is not None and "stopped after" in load.ended.interrupted
    assert "of 60 s" in load.ended.interrupted
    assert load.ended.unanswered == sum(row.intended for row in load.rows) - 2 > 0
    assert load.ended.seconds < 5


async def test_a_second_stop_waits_for_nothing() -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()

    async def hang(asked: Asked) -> Reply:
        stop.set()
        asyncio.get_running_loop().call_later(0.3, hurry.set)
        await asyncio.sleep(60)
        return None

    async with StandIn(hang) as server:
        load = await send(server, plan(closed(3, 60)), stop=stop, hurry=hurry)
    assert load.ended.unanswered == 3 == load.over
    assert load.ended.seconds < 4


async def test_an_encrypted_connection_is_made_only_to_whom_it_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl program to make certificates with")
    files = certificate.make(tmp_path / "certificates")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.server, files.server_key)
    async with StandIn(tls=tls) as server:
        monkeypatch.setenv("SSL_CERT_FILE", f"{files.authority}")
        trusting = await send(server, plan(closed(1, 60, requests=3)))
        monkeypatch.setenv("SSL_CERT_FILE", f"{files.stranger}")
        distrusting = await send(server, plan(closed(1, 60, requests=3)))
    assert trusting.count("succeeded") == 3 and not trusting.faults
    assert distrusting.count("tls") == 3 and "certificate" in distrusting.faults["tls"].example


async def test_the_same_seed_sends_the_same_requests() -> None:
    def bodies() -> tuple[list[bytes], StandIn]:
        seen: list[bytes] = []

        async def keep(asked: Asked) -> Reply:
            seen.append(asked.line.encode() + asked.body)
            return await ok(asked)

        return seen, StandIn(keep)

    mix = [
        {"function": "a", "parameters": {"n": {"uniform": [1, 1000]}}},
        {"function": "b", "weight": 2},
    ]
    runs = []
    for seed in (5, 5, 6):
        seen, server = bodies()
        async with server:
            await send(server, plan(closed(1, 60, requests=30), mix=mix, seed=seed))
        runs.append(seen)
    assert runs[0] == runs[1] != runs[2]
