"""The list of dead letters in rare states: a broker that is away, bytes that are nobody's."""

from dataclasses import dataclass, field

import pytest

from console.letters import DeadLetters
from runtime.brokers import DeadLetter
from runtime.errors import Unavailable
from runtime.letters import Letter
from runtime.model import Depth, Message, Part, Payload
from tests.console.stage import LONG, PARTIAL, Stage, shown, spec


@dataclass
class Desk:
    """Letters of a broker that may be away."""

    letters: list[Letter] = field(default_factory=list)
    away: bool = False
    asked: int = 0

    async def listed(self, function: str | None, limit: int) -> list[Letter]:
        self.asked += 1
        if self.away:
            raise Unavailable("RabbitMQ is away", 5)
        wanted = [each for each in self.letters if function in (None, each.dead.message.function)]
        return wanted[:limit]


def letter(id: str, function: str = "matmul", **changes: object) -> Letter:
    payload = changes.pop("payload", Payload(b'{"n": 1}'))
    assert isinstance(payload, Payload)
    message = Message(id, function, "cpu", payload, 1.0, attempt=3)
    unreadable = changes.pop("unreadable", None)
    assert unreadable is None or isinstance(unreadable, bytes)
    return Letter(DeadLetter(message, f"{function}.cpu", "it died", 2.0, unreadable))


@pytest.fixture
def desk() -> Desk:
    return Desk([letter("one"), letter("two", LONG)])


@pytest.fixture
def stage(desk: Desk) -> Stage:
    stage = Stage(letters=desk)
    stage.show(spec("matmul"), spec(LONG))
    stage.depths = {"matmul.cpu": Depth(dead=1), f"{LONG}.cpu": Depth(dead=1)}
    return stage


async def test_nothing_given_up_is_told_apart_from_a_filter_that_matches_nothing() -> None:
    async with shown(Stage(letters=Desk()), DeadLetters) as client:
        nothing = (await client.get("/queues/dead")).text
        filtered = (await client.get("/queues/dead?function=matmul")).text
    assert "Nothing was given up on." in nothing
    assert "No dead letter of matmul." in filtered
    assert "Clear filters" in filtered


async def test_while_the_broker_is_away_the_last_list_is_shown_without_its_buttons(
    stage: Stage, desk: Desk
) -> None:
    async with shown(stage, DeadLetters) as client:
        assert "/queues/replay" in (await client.get("/queues/dead")).text
        desk.away = True
        page = (await client.get("/queues/dead")).text
        other = (await client.get("/queues/dead?function=matmul")).text
    assert "The dead letters cannot be listed now." in page
    assert 'id="letter-one"' in page
    assert "card stale" in page
    assert "/queues/replay" not in page
    assert "letter-one" not in other  # it was never listed so
    assert "Nothing was given up on" not in other


async def test_a_console_that_only_shows_has_no_buttons_and_refuses_them(stage: Stage) -> None:
    stage.read_only = True
    async with shown(stage, DeadLetters) as client:
        page = (await client.get("/queues/dead")).text
        answer = await client.post("/queues/discard", data={"letter": "matmul/one"})
    assert 'id="letter-one"' in page
    assert (
        "/queues/"
        not in page.partition("<main")[2].partition('id="letter-one"')[2].partition("</tbody>")[0]
    )
    assert answer.status_code == 403


async def test_bytes_that_are_no_message_can_only_be_discarded(stage: Stage, desk: Desk) -> None:
    desk.letters = [letter("unreadable-1", unreadable=b"<garbage>\xff")]
    async with shown(stage, DeadLetters) as client:
        page = (await client.get("/queues/dead")).text
    row = page.partition('id="letter-unreadable-1"')[2].partition("</tr>")[0]
    assert "&lt;garbage&gt;" in row
    assert "Edit and replay" not in row
    assert "Discard it for good" in row


async def test_a_large_input_is_told_by_its_size_and_never_shown_whole(
    stage: Stage, desk: Desk
) -> None:
    large = b'{"text": "%s"}' % (b"x" * 200_000)
    upload = Part("image", "image/png", 2_000_000, key="three/image")
    desk.letters = [
        letter("large", payload=Payload(large)),
        letter("stored", payload=Payload(None, (upload,), "stored/input")),
    ]
    async with shown(stage, DeadLetters) as client:
        page = (await client.get("/queues/dead")).text
    assert len(page) < 64_000
    assert "200 kB" in page
    assert "it lies in the blob store" in page
    assert "image: image/png, 2.00 MB" in page


async def test_letters_that_came_since_wait_behind_a_link(stage: Stage, desk: Desk) -> None:
    async with shown(stage, DeadLetters) as client:
        page = (await client.get("/queues/dead")).text
        assert "seen=2" in page
        stage.depths["matmul.cpu"] = Depth(dead=4)
        asked = desk.asked
        live = await client.get(
            "/queues/dead?limit=50&seen=2", headers=PARTIAL | {"HX-Target": "div#standing"}
        )
    assert "3 more letters since this list was made." in live.text
    assert "<input" not in live.text
    assert desk.asked == asked  # a refresh lists nothing anew


async def test_more_than_are_listed_are_counted(stage: Stage, desk: Desk) -> None:
    desk.letters = [letter(f"l{n}") for n in range(200)]
    stage.depths = {"matmul.cpu": Depth(dead=200)}
    async with shown(stage, DeadLetters) as client:
        page = (await client.get("/queues/dead")).text
        wrong = await client.get("/queues/dead?limit=9999")
    assert page.count('name="letter" value="matmul/l') == 3 * 50  # tick, replay, discard
    assert "the oldest 50 of 200" in page
    assert wrong.status_code == 422
