"""Looking for invocations, in each database: what is found, in which order, and how far."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime import database
from runtime.database import Database
from runtime.errors import BadRequest
from runtime.ledger import Ledger
from runtime.lifeline import ReplicaLife
from runtime.model import DEVICES, TERMINAL, Device, Invocation, Message, Payload, Status, new_id
from runtime.search import COUNTED, Place, Search, Wanted
from tests.places import Place as Home

NOW = 2_000.0
PROPERTY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make(
    created_at: float,
    status: Status = Status.SUCCEEDED,
    function: str = "matmul",
    device: Device = "cpu",
    **fields: Any,
) -> Invocation:
    id = fields.pop("id", None) or new_id()
    message = Message(id, function, device, Payload(b'{"n": 4}'), created_at)
    if status in TERMINAL:
        fields.setdefault("finished_at", created_at + 1)
    return Invocation(message, "auto", "v1", status, **fields)


def life(spawned_at: float) -> ReplicaLife:
    return ReplicaLife(
        name="matmul-cpu-1",
        function="matmul",
        device="cpu",
        simulated=False,
        worker="w",
        pid=7,
        gpu=None,
        state="ready",
        spawned_at=spawned_at,
        ready_at=spawned_at + 1,
        ended_at=None,
        setup=0.5,
        served=0,
        busy=0.0,
        memory=1000,
        gpu_memory=None,
        ending=None,
        segments=(),
    )


@pytest.fixture
async def opened(place: Home, ledger: Ledger) -> AsyncIterator[Database]:
    """The database of the empty ledger."""
    found = await database.connect(database.address(place.url))
    yield found
    await found.close()


@pytest.fixture
def search(opened: Database) -> Search:
    return Search(opened)


def times(found: list[Invocation]) -> list[float]:
    return [invocation.message.created_at for invocation in found]


async def every(search: Search, wanted: Wanted, limit: int = 7) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    place = None
    while True:
        found = await search.find(wanted, NOW, place, limit)
        ids += [invocation.id for invocation in found.items]
        assert len(found.items) <= limit
        if found.older is None:
            return ids
        place = Place.parse(str(found.older))


async def test_each_filter_leaves_what_it_says(ledger: Ledger, search: Search) -> None:
    await ledger.write(
        [
            make(1.0, function="matmul"),
            make(2.0, function="image_filter"),
            make(3.0, status=Status.FAILED),
            make(4.0, device="gpu"),
            make(5.0, cold=True),
            make(6.0, finished_at=106.0),
            make(7.0, batch="b"),
            make(1900.0, status=Status.RUNNING),
        ]
    )
    cases = [
        (Wanted(), [1900, 7, 6, 5, 4, 3, 2, 1]),
        (Wanted(function="image_filter"), [2]),
        (Wanted(status=Status.FAILED), [3]),
        (Wanted(device="gpu"), [4]),
        (Wanted(cold=True), [5]),
        (Wanted(cold=False, device="gpu"), [4]),
        (Wanted(slower=100.0), [1900, 6]),
        (Wanted(slower=100.1), []),
        (Wanted(since=6.0), [1900, 7, 6]),
        (Wanted(batch="b"), [7]),
        (Wanted(function="matmul", status=Status.SUCCEEDED, since=6.0), [7, 6]),
        (Wanted(function="nobody"), []),
    ]
    for wanted, expected in cases:
        assert times((await search.find(wanted, NOW)).items) == expected, wanted


async def test_an_id_is_found_by_its_beginning(ledger: Ledger, search: Search) -> None:
    await ledger.write([make(1.0, id="abc-1"), make(2.0, id="abd"), make(3.0, id="abc_2")])
    found = (await search.find(Wanted(id="abc"), NOW)).items
    assert [invocation.id for invocation in found] == ["abc_2", "abc-1"]
    assert await every(search, Wanted(id="ab"), limit=1) == ["abd", "abc_2", "abc-1"]
    assert [i.id for i in (await search.find(Wanted(id="ab", since=2.0), NOW)).items] == [
        "abd",
        "abc_2",
    ]
    for odd in ("abc%", "", "abc\0", "é"):
        assert not (await search.find(Wanted(id=odd), NOW)).items


async def test_nothing_large_is_read(ledger: Ledger, search: Search) -> None:
    await ledger.write([make(1.0, log="much")])
    (found,) = (await search.find(Wanted(), NOW)).items
    assert found.log is None and found.message.payload.parameters is None


async def test_it_looks_at_so_many_rows_and_says_how_to_go_on(
    ledger: Ledger, opened: Database
) -> None:
    search = Search(opened, looked_at=10)
    await ledger.write([make(float(n), cold=n in (3, 25)) for n in range(35)])
    found = await search.find(Wanted(cold=True), NOW)
    assert times(found.items) == [25] and found.looked_at == 10
    further = await search.find(Wanted(cold=True), NOW, found.older)
    assert times(further.items) == [] and further.looked_at == 10
    last = await search.find(Wanted(cold=True), NOW, further.older)
    assert times(last.items) == [] and last.looked_at == 10
    end = await search.find(Wanted(cold=True), NOW, last.older)
    assert times(end.items) == [3] and end.older is None and end.looked_at is None


async def test_rows_of_one_index_are_not_counted_as_looked_at(
    ledger: Ledger, opened: Database
) -> None:
    search = Search(opened, looked_at=10)
    await ledger.write([make(float(n), function="a" if n < 2 else "b") for n in range(40)])
    found = await search.find(Wanted(function="a"), NOW)
    assert times(found.items) == [1, 0] and found.older is None and found.looked_at is None


async def test_rows_of_one_instant_are_each_found_once(ledger: Ledger, search: Search) -> None:
    written = [make(5.0) for _ in range(20)]
    await ledger.write(written)
    ids = await every(search, Wanted(), limit=3)
    assert ids == sorted((i.id for i in written), reverse=True)


async def test_new_rows_are_counted(ledger: Ledger, search: Search) -> None:
    await ledger.write([make(float(n), cold=n % 2 == 0, id=f"i{n}") for n in range(10)])
    than = Place(5.0, "i5")
    assert await search.newer(Wanted(), than, NOW) == 4
    assert await search.newer(Wanted(cold=True), than, NOW) == 2
    assert await search.newer(Wanted(function="nobody"), than, NOW) == 0
    assert await search.newer(Wanted(id="i"), than, NOW) == 4


async def test_very_many_new_rows_are_just_more(ledger: Ledger, search: Search) -> None:
    await ledger.write([make(6.0) for _ in range(COUNTED + 20)])
    assert await search.newer(Wanted(), Place(5.0, "i"), NOW) == COUNTED + 1


async def test_few_new_rows_among_many_are_counted_as_far_as_it_looks(
    ledger: Ledger, opened: Database
) -> None:
    search = Search(opened, looked_at=10)
    await ledger.write([make(10.0 + n, cold=n in (2, 30)) for n in range(40)])
    assert await search.newer(Wanted(cold=True), Place(5.0, "i"), NOW) == 1


async def test_replays_are_found_by_what_they_were_made_of(ledger: Ledger, search: Search) -> None:
    first = make(1.0, id="first")
    others = [make(float(n), id=f"again-{n}", replayed_from="first") for n in (3, 2)]
    unlike = [make(4.0), make(5.0, replayed_from="other")]
    await ledger.write([first, *others, *unlike])
    assert await search.replays_of(first) == ["again-2", "again-3"]
    assert await search.replays_of(first, limit=1) == ["again-2"]
    assert not await search.replays_of(others[0])


async def test_a_replica_is_the_one_of_its_name_that_lived_then(
    ledger: Ledger, search: Search
) -> None:
    early, late = life(10.0), life(20.0)
    await ledger.replicas.keep([early, late], now=30.0)
    assert await search.replica("matmul-cpu-1", 19.0) == early
    assert await search.replica("matmul-cpu-1", 25.0) == late
    assert await search.replica("matmul-cpu-1", 5.0) is None
    assert await search.replica("matmul-cpu-2", 25.0) is None


@pytest.mark.parametrize("text", ["", ":", "5", "5:", "nan:a", "inf:a", "five:a"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="is no place in a list"):
        Place.parse(text)


@PROPERTY
@given(at=st.floats(allow_nan=False, allow_infinity=False), id=st.text("abc-_:0", min_size=1))
def test_a_place_is_always_read_as_it_was_written(at: float, id: str) -> None:
    assert Place.parse(str(Place(at, id))) == Place(at, id)


wanted = st.builds(
    Wanted,
    function=st.none() | st.sampled_from("ab"),
    status=st.none() | st.sampled_from(list(Status)),
    device=st.none() | st.sampled_from(DEVICES),
    cold=st.none() | st.booleans(),
    slower=st.none() | st.sampled_from([0.0, 5.0]),
    since=st.none() | st.sampled_from([0.0, 4.0, 9.0]),
    batch=st.none() | st.just("b"),
    id=st.none() | st.sampled_from(["i", "i1"]),
)


@PROPERTY
@given(wanted=wanted, looked_at=st.integers(1, 40), limit=st.integers(1, 9), seed=st.integers())
async def test_all_pages_together_are_always_all_that_is_wanted_and_none_twice(
    place: Home, wanted: Wanted, looked_at: int, limit: int, seed: int
) -> None:
    drawn = random.Random(seed)
    written = [
        make(
            float(drawn.randrange(10)),
            drawn.choice(list(Status)),
            drawn.choice("ab"),
            drawn.choice(DEVICES),
            id=f"i{n}",
            cold=drawn.random() < 0.3,
            batch=drawn.choice(["b", None]),
        )
        for n in range(30)
    ]
    async with place.emptied() as ledger:
        await ledger.write(written)
        opened = await database.connect(database.address(place.url))
        try:
            ids = await every(Search(opened, looked_at), wanted, limit)
        finally:
            await opened.close()
    matching = [i for i in written if _is_wanted(i, wanted)]
    if wanted.id is None:
        matching.sort(key=lambda i: (i.message.created_at, i.id), reverse=True)
    else:
        matching.sort(key=lambda i: i.id, reverse=True)
    assert ids == [i.id for i in matching]


def _is_wanted(invocation: Invocation, wanted: Wanted) -> bool:
    message = invocation.message
    took = (invocation.finished_at or NOW) - message.created_at
    return (
        wanted.function in (None, message.function)
        and wanted.status in (None, invocation.status)
        and wanted.device in (None, message.device)
        and wanted.cold in (None, invocation.cold)
        and (wanted.slower is None or took >= wanted.slower)
        and (wanted.since is None or message.created_at >= wanted.since)
        and wanted.batch in (None, invocation.batch)
        and (wanted.id is None or invocation.id.startswith(wanted.id))
    )
