"""The RabbitMQ part of `make bench`: Lumbre as separate processes, beside what else there is.

A gateway that records and a worker with one replica, once with PostgreSQL and once with SQLite, are
loaded in turn with a bare Starlette, Dramatiq and a hand-written aio-pika gateway: all up at once,
and over one RabbitMQ of our own.  What is measured is printed, and written to docs/benchmarks.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from loadtest.budgets.arena import ECHO, POSTGRES, SQLITE, Arena, opened
from loadtest.budgets.benchmark import Benchmark
from loadtest.budgets.comparison import Budget, compared, part_of_the_p50, times_the_rate
from loadtest.budgets.contestant import Contestant, Task, in_turn
from loadtest.budgets.distributed import Deployment
from loadtest.budgets.flood import flooded
from loadtest.budgets.pace import FULL, QUICK, Pace
from loadtest.budgets.records import recorded
from loadtest.budgets.rivals import AIOPIKA, DRAMATIQ, MATMUL, NOOP, STARLETTE
from loadtest.budgets.row import Row
from loadtest.budgets.server import scratch
from loadtest.budgets.starts import woken
from loadtest.fingerprint import Facts

METHOD = """\
`lumbre gateway`, which records, and `lumbre worker --replicas 1` are processes of their own, over
RabbitMQ (quorum queues, publisher confirms). Every outcome is recorded in a ledger, PostgreSQL or
SQLite, both of which sync to disk; nothing else here records anything.

What they are beside (`loadtest/budgets/peers`, written for this in the usual way of each library):

- **raw Starlette** on uvicorn computes in the process that answers: no queue, no worker;
- **Dramatiq**: Starlette that sends to an actor and waits for its result in a thread, the workers
  that `dramatiq` starts by itself (a process for each core, eight threads each), results in Redis;
- **aio-pika**: a Starlette gateway and a worker written by hand, calls by direct reply-to, a
  prefetch of 64, classic queues, nothing confirmed.

All are up at once, over one RabbitMQ, and take turns, round after round; what counts is the median
of the ratios within a round, with the least and the most in brackets and how many there were. All
share the cores: client, gateways, workers, RabbitMQ and the databases. All give the same answers,
to the last byte: load comes from a closed loop in a process of its own
(`loadtest/budgets/closed.py`, not wrk), which checks the status and the body of every answer; an
error makes a row void. These are
measurements and not tests: nothing fails when a budget is missed, and it is said here by how much.
µs of CPU are those of the median round, RabbitMQ's and PostgreSQL's with what they do on the side.
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One comparison: a task over so many connections, and what is to be kept."""

    task: str
    connections: int
    budgets: tuple[Budget, ...]


POINTS = (
    Point(
        NOOP,
        64,
        (
            times_the_rate(STARLETTE, 0.5),
            times_the_rate(DRAMATIQ, 5),
            times_the_rate(AIOPIKA, 4),
        ),
    ),
    Point(NOOP, 16, (times_the_rate(STARLETTE, 0.35),)),
    Point(NOOP, 1, (part_of_the_p50(DRAMATIQ, 0.6),)),
    Point(MATMUL, 16, (times_the_rate(STARLETTE, 0.75),)),
)


def rows(pace: Pace, facts: Facts) -> Iterator[Row]:
    """Measure one row after the other."""
    with opened(facts) as arena:
        for point in POINTS:
            yield from compete(arena, point, pace)
        yield recorded(arena.ours)
        lumbre = arena.deployments[POSTGRES]
        yield after_zero(lumbre, pace)
        with scratch() as folder:
            yield flooded(lumbre, folder, pace.queued)


def compete(arena: Arena, point: Point, pace: Pace) -> Iterator[Row]:
    """The rows of one comparison, one for each ledger."""
    task: Task = ECHO if point.task == NOOP else arena.product
    others = {budget.beside for budget in point.budgets} - arena.absent.keys()
    known: list[Contestant] = [arena.raw, *arena.peers.values()]
    beside = [contestant for contestant in known if contestant.name in others]
    rounds = in_turn([*beside, *arena.ours.values()], task, point.connections, pace)
    for ledger in (POSTGRES, SQLITE):
        ours = arena.ours[ledger].name
        s = "" if point.connections == 1 else "s"
        what = f"{task.name} at {point.connections} connection{s}, {ledger}"
        yield compared(what, ours, rounds, point.budgets, arena.absent)


def after_zero(lumbre: Deployment, pace: Pace) -> Row:
    """Seconds of one call to a torch function that has no replica anywhere."""
    took, start = woken(lumbre.gateway, pace)
    return Row(
        what="first answer after scale to zero",
        measured=took.text("ms"),
        detail="One POST over a new connection to a torch function (256 × 256 product) of which GET"
        " /functions shows no replica; `lumbre worker --autoscale` has the fork server warm. Each"
        " was checked to be a cold start. Of it, the start of the replica as the worker tells it:"
        f" {start.text('ms')}.",
    )


BENCHMARK = Benchmark(
    module="loadtest.budgets.rabbitmq",
    section="Over RabbitMQ",
    method=METHOD,
    full=replace(FULL, rounds=5, seconds=2.0, warm_up=0.5),
    quick=replace(QUICK, rounds=3, seconds=0.7, warm_up=0.3, wakes=3, queued=5_000),
    rows=rows,
)


def main(line: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it could be measured, whatever it measured."""
    return BENCHMARK.main(line, __doc__)


if __name__ == "__main__":
    raise SystemExit(main())
