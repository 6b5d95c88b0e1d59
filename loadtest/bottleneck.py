"""Whether the load generator, and not the server, was the bottleneck, second by second."""

from collections.abc import Sequence

from loadtest.outcome import Generator
from loadtest.quantity import duration
from loadtest.tally import Row, Tally, histogram

BUSY = 0.9  # share of a core: one process of Python can use one
LATE = 0.05  # seconds


def generator(tally: Tally, peak: int, most: int, seconds: float) -> Generator:
    """The verdict over a whole load; `peak` connections were open at once, and `most` may be."""
    late = histogram(tally.late.items())
    return Generator(
        connections=peak,
        cpu=tally.spent / seconds if seconds > 0 else 0.0,
        late_p99=late.percentile(99) if late.count else 0.0,
        saturated=sum(is_saturated(row) for row in tally.rows),
        reasons=reasons(tally.rows, most),
    )


def is_saturated(row: Row) -> bool:
    """Whether the numbers of a second are, at least partly, the generator's own limits."""
    return row.cpu >= BUSY or row.late > LATE or row.capped


def reasons(rows: Sequence[Row], most: int) -> tuple[str, ...]:
    """Why seconds were saturated, in sentences with numbers; empty where none was."""
    told = []
    if busy := [row for row in rows if row.cpu >= BUSY]:
        share = max(row.cpu for row in busy)
        told.append(
            f"in {_seconds(busy)} it used {BUSY:.0%} of a core or more (at most {share:.0%}), and"
            " one process cannot use much more: send less, or send from several processes"
        )
    if late := [row for row in rows if row.late > LATE]:
        worst = max(late, key=lambda row: row.late)
        why = (
            "its own core was busy"
            if worst.cpu >= BUSY
            else "something else had the processor, or a turn of its loop took that long"
        )
        told.append(
            f"in {_seconds(late)} requests left up to {duration(worst.late)} after their time"
            f" though a connection was free or could be made: {why}"
        )
    if capped := [row for row in rows if row.capped]:
        held = max(row.held for row in capped)
        told.append(
            f"in {_seconds(capped)} all of its {most:,} connections were in use and requests were"
            f" held (up to {held:,} at the end of a second): raise connections in the plan if the"
            " server is meant to have more at once"
        )
    return tuple(told)


def _seconds(rows: Sequence[Row]) -> str:
    return "1 second" if len(rows) == 1 else f"{len(rows):,} seconds"
