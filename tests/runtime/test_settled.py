"""Which dead letters were dealt with, in every database that a ledger may lie in."""

from typing import Any

from runtime.ledger import Batch, Ledger
from runtime.model import Failure, Invocation, Message, Payload, Status, new_id


def dead(created_at: float = 1.0, status: Status = Status.DEAD, **fields: Any) -> Invocation:
    message = Message(new_id(), "crash", "cpu", Payload(b'{"n":1}'), created_at, attempt=3)
    error = Failure("ReplicaDied", "the replica ended: SIGKILL")
    return Invocation(
        message, "auto", "v1", status, finished_at=created_at + 1, error=error, **fields
    )


async def left(ledger: Ledger, most: int = 1000, chunk: int = 500) -> list[Invocation]:
    return [found async for page in ledger.letters.left(most, chunk) for found in page]


async def test_a_dead_invocation_has_a_letter_until_somebody_deals_with_it(ledger: Ledger) -> None:
    replayed, discarded, kept = dead(1.0), dead(2.0), dead(3.0)
    await ledger.write([replayed, discarded, kept, dead(4.0, Status.FAILED)])
    assert [each.id for each in await left(ledger)] == [replayed.id, discarded.id, kept.id]
    await ledger.letters.settle({replayed.id: "another", discarded.id: None})
    (only,) = await left(ledger)
    assert only.message == kept.message
    assert only.error == kept.error
    settled = await ledger.letters.among([replayed.id, discarded.id, kept.id])
    assert {id: each.replayed_as for id, each in settled.items()} == {
        replayed.id: "another",
        discarded.id: None,
    }


async def test_what_was_said_of_a_letter_first_stays(ledger: Ledger) -> None:
    await ledger.letters.settle({"one": "another"})
    await ledger.letters.settle({"one": None})
    assert (await ledger.letters.among(["one"]))["one"].replayed_as == "another"


async def test_letters_that_are_left_come_in_pages_the_oldest_first(ledger: Ledger) -> None:
    several = [dead(float(k // 3)) for k in range(20)]  # several of one instant
    await ledger.write(several)
    found = await left(ledger, chunk=4)
    assert [each.id for each in found] == [each.id for each in several]
    assert [each.id for each in await left(ledger, most=7, chunk=4)] == [
        each.id for each in several[:7]
    ]


async def test_what_was_said_of_a_letter_goes_with_its_invocation(ledger: Ledger) -> None:
    gone = dead(batch="taken-back", batch_index=0)
    await ledger.add_batch(Batch("taken-back", "crash", "auto", 1.0))
    await ledger.write([gone])
    await ledger.letters.settle({gone.id: None})
    assert await ledger.drop_batch("taken-back", 10) == 1
    assert await ledger.letters.among([gone.id]) == {}


async def test_nothing_is_asked_of_a_ledger_about_no_letters(ledger: Ledger) -> None:
    await ledger.close()
    assert await ledger.letters.among([]) == {}
    assert await ledger.attempts_among([]) == {}
    assert await ledger.among([]) == {}
