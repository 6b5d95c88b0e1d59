"""Requests a second, and how long each takes: the gateway beside a bare echo.

Both servers are up at once and are loaded in turn, round after round, and what counts is the ratio
within a round: the speed of a shared machine changes more in minutes than the two servers differ.
"""

from loadtest.budgets.closed import Load, Measured, measure
from loadtest.budgets.pace import Pace
from loadtest.budgets.row import Check, Row, Sample, figure
from loadtest.budgets.server import Server, until

BODY = '{"x":1}'
NOOP, ECHO = "/invoke/noop", "/echo"
SHARE = 70.0  # percent of the echo's throughput
EXTRA = 0.25  # milliseconds over the echo's p50
DRAIN_LIMIT = 180.0  # seconds until a queue must be empty
DRAIN_LOOK = 0.05  # seconds between two looks at a queue
DURABLE = {"Prefer": "respond-async"}

Round = tuple[Measured, Measured]  # the echo's, and the gateway's after it


def throughput(raw: Server, lumbre: Server, connections: int, pace: Pace) -> Row:
    """Synchronous no-ops a second, as a share of the echo's in the same round."""
    return shares(in_turn(raw, lumbre, connections, pace), connections)


def shares(rounds: list[Round], connections: int) -> Row:
    """The row of a throughput, from its rounds."""
    share = Sample.of(100 * ours.rate / max(1, theirs.rate) for theirs, ours in rounds)
    return Row(
        what=f"synchronous no-op, throughput at {connections} connections",
        measured=f"{share.text('%')} of the echo",
        checks=(Check(share.median, SHARE, "%", at_least=True),),
        detail=f"{_compared(rounds)}. Errors: {_errors(rounds)}.",
        faults=_faults(rounds),
    )


def latency(raw: Server, lumbre: Server, pace: Pace) -> Row:
    """The median time of a synchronous no-op on one connection, over the echo's."""
    return extras(in_turn(raw, lumbre, 1, pace))


def extras(rounds: list[Round]) -> Row:
    """The row of a latency, from its rounds."""
    extra = Sample.of(1e3 * (ours.p50 - theirs.p50) for theirs, ours in rounds)
    return Row(
        what="synchronous no-op, p50 at 1 connection over the echo's",
        measured=f"{extra.text('ms')} more",
        checks=(Check(extra.median, EXTRA, "ms"),),
        detail=f"{_compared(rounds)}. Errors: {_errors(rounds)}.",
        faults=_faults(rounds),
    )


def acceptances(lumbre: Server, pace: Pace) -> Row:
    """Durable 202s a second, while a replica runs what was accepted."""
    load = Load(lumbre.url(NOOP), 64, pace.seconds, body=BODY, headers=DURABLE, status=202)
    rounds = []
    for _ in range(pace.acceptance_rounds):
        rounds.append(measure(load))
        drained(lumbre, "noop", DRAIN_LIMIT)
    rate = Sample.of(one.rate for one in rounds)
    p50 = Sample.of(1e3 * one.p50 for one in rounds)
    p99 = Sample.of(1e3 * one.p99 for one in rounds)
    return Row(
        what="durable acceptances (202) at 64 connections",
        measured=rate.text("a second"),
        detail=f"Each is committed and synced to the ledger before its 202, many in one commit,"
        f" while replicas run what was accepted before. p50 {p50.text('ms')}, p99"
        f" {p99.text('ms')}. Generator: {_cpu(rounds)}.",
        faults=tuple(_told(one, "lumbre") for one in rounds if one.errors),
    )


def in_turn(raw: Server, lumbre: Server, connections: int, pace: Pace) -> list[Round]:
    """Load the echo and the gateway alternately, after a warm-up of both."""
    loads = [
        Load(server.url(path), connections, pace.seconds, body=BODY, answer=BODY)
        for server, path in ((raw, ECHO), (lumbre, NOOP))
    ]
    for load in loads:
        measure(Load(load.url, connections, pace.warm_up, body=BODY))
    return [(measure(loads[0]), measure(loads[1])) for _ in range(pace.rounds)]


def drained(server: Server, function: str, within: float) -> None:
    """Return once nothing of a function is queued or running; BenchmarkError if it takes longer."""

    def empty() -> bool:
        depths = server.get(f"/functions/{function}")["backlog"].values()
        return not any(depth["ready"] + depth["unacknowledged"] for depth in depths)

    until(f"nothing of {function} is queued or running", empty, within, DRAIN_LOOK)


def _compared(rounds: list[Round]) -> str:
    """Medians of both servers in words."""
    told = []
    for name, side in (("Echo", 0), ("lumbre", 1)):
        mine = [one[side] for one in rounds]
        rate = Sample.of(one.rate for one in mine).median
        p50 = Sample.of(1e3 * one.p50 for one in mine).median
        p99 = Sample.of(1e3 * one.p99 for one in mine).median
        told.append(
            f"{name} {figure(rate)} requests/s, p50 {figure(p50)} ms, p99 {figure(p99)} ms"
            f" (generator: {_cpu(mine)})"
        )
    return "; ".join(told)


def _cpu(rounds: list[Measured]) -> str:
    return f"{figure(1e6 * Sample.of(one.cpu for one in rounds).median)} µs CPU a request"


def _errors(rounds: list[Round]) -> int:
    return sum(one.errors for pair in rounds for one in pair)


def _faults(rounds: list[Round]) -> tuple[str, ...]:
    sides = [(name, pair[i]) for pair in rounds for i, name in enumerate(("echo", "lumbre"))]
    return tuple(_told(one, name) for name, one in sides if one.errors)


def _told(one: Measured, name: str) -> str:
    what = ", ".join(f"{count} × {fault}" for fault, count in one.faults.items())
    return f"{one.errors} errors from {name}: {what}"
