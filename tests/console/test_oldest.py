"""Since when the oldest of each queue waits."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from console.oldest import LOOKED_AT, Oldest, Waiting
from console.sources import Sources
from runtime.errors import Unavailable
from runtime.model import Device, Invocation, Message, Payload, Status

CPU: tuple[str, Device] = ("matmul", "cpu")
GPU: tuple[str, Device] = ("matmul", "gpu")
OTHER: tuple[str, Device] = ("other", "cpu")


@dataclass
class Ledger:
    """A census of rows, oldest first, that counts how often it is asked."""

    rows: list[Any] = field(default_factory=list)
    away: bool = False
    asked: int = 0

    async def pending(self, functions: Any, before: float, limit: int) -> dict[str, Any]:
        self.asked += 1
        if self.away:
            raise Unavailable("the ledger is away", 1)
        found = [row for row in self.rows if row.function in functions and row.created_at < before]
        return {str(number): row for number, row in enumerate(found[:limit])}


def row(key: tuple[str, Device], at: float) -> Any:
    return SimpleNamespace(function=key[0], device=key[1], created_at=at)


def live(key: tuple[str, Device], at: float, status: Status = Status.QUEUED) -> Invocation:
    message = Message(f"{at}", key[0], key[1], Payload(), at)
    return Invocation(message, "auto", "v1", status)


def waiting(ledger: Ledger, *invocations: Invocation) -> Waiting:
    here = {each.id: each for each in invocations}
    sources = SimpleNamespace(
        ledger=SimpleNamespace(census=ledger), invocations=SimpleNamespace(live=here)
    )
    return Waiting(cast(Sources, sources))


async def test_the_first_row_of_each_queue_is_its_oldest() -> None:
    ledger = Ledger([row(CPU, 1.0), row(GPU, 2.0), row(CPU, 3.0), row(OTHER, 4.0)])
    found = await waiting(ledger).oldest([CPU, GPU])
    assert found == {CPU: Oldest(1.0), GPU: Oldest(2.0)}


async def test_what_has_no_row_yet_is_found_in_this_process() -> None:
    here = [live(CPU, 5.0), live(OTHER, 6.0, Status.SUCCEEDED), live(OTHER, 7.0)]
    found = await waiting(Ledger([row(CPU, 9.0)]), *here).oldest([CPU, OTHER])
    assert found == {CPU: Oldest(5.0), OTHER: Oldest(7.0)}


async def test_one_behind_very_many_others_is_younger_than_they_are() -> None:
    ledger = Ledger([row(CPU, float(n)) for n in range(LOOKED_AT)] + [row(GPU, 9000.0)])
    found = await waiting(ledger).oldest([CPU, GPU])
    assert found == {CPU: Oldest(0.0), GPU: Oldest(LOOKED_AT - 1.0, exact=False)}


async def test_a_ledger_that_is_away_hides_nothing_that_is_known_here() -> None:
    assert await waiting(Ledger(away=True), live(CPU, 5.0)).oldest([CPU]) == {CPU: Oldest(5.0)}


async def test_the_ledger_is_asked_once_for_all_who_look_and_never_for_nothing() -> None:
    ledger = Ledger([row(CPU, 1.0)])
    seen = waiting(ledger)
    assert await seen.oldest([]) == {}
    for _ in range(5):
        await seen.oldest([CPU])
    assert ledger.asked == 1
