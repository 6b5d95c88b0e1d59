"""The page of one invocation, of a real node: whatever became of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from console.invocation import LOG_SHOWN, log_view, why_waiting
from console.sources import Sources
from runtime.lifeline import ReplicaLife
from runtime.model import Depth, Invocation, Message, Payload, PoolState, ReplicaCounts, Status
from tests.console.test_app import HTML, PARTIAL
from tests.support import NodeFactory, RunningNode, eventually

FUNCTIONS = Path(__file__).parent / "told_functions"
WAITING = Depth(ready=3)
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> RunningNode:
    return start_node(FUNCTIONS)


@pytest.fixture
def client(node: RunningNode) -> httpx.Client:
    return node.client


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """What a held invocation waits for; there at the end, whatever happened."""
    path = tmp_path / "gate"
    yield path
    path.touch()


@pytest.fixture
def held(client: httpx.Client, gate: Path) -> str:
    """An invocation that runs until the gate is there."""
    answer = client.post("/invoke/held", json={"gate": str(gate)}, headers=ASYNC)
    id = str(answer.json()["id"])
    eventually(lambda: client.get(f"/invocations/{id}/logs").text)
    return id


def invoked(client: httpx.Client, function: str, **parameters: Any) -> str:
    answer = client.post(f"/invoke/{function}", json=parameters)
    return answer.headers.get("invocation-id") or str(answer.json()["invocation_id"])


def page(client: httpx.Client, id: str) -> str:
    answer = client.get(f"/invocations/{id}", headers=HTML)
    assert answer.status_code == 200, answer.text
    assert "style=" not in answer.text
    return answer.text


def block(client: httpx.Client, id: str, name: str) -> str:
    headers = PARTIAL | {"HX-Target": f"div#{name}"}
    return client.get(f"/invocations/{id}", headers=headers).text


def test_a_success_shows_its_time_its_input_its_result_and_its_curve(client: httpx.Client) -> None:
    id = invoked(client, "losses", epochs=5)
    html = page(client, id)
    assert "Where the time went" in html and "in all" in html and "learn" in html
    assert "&#34;epochs&#34;: 5" in html
    assert '<lumbre-chart id="output-curve-1" kind="lines"' in html
    assert "losses fell from 1.000 to 0.2000 over 5 epochs." in html
    assert "data-over" in html and "data-follow" not in html
    assert (
        f'action="/invocations/{id}/again"' in html
        and f'href="/functions/losses?from={id}"' in html
    )
    assert f'action="/invocations/{id}/cancel"' not in html


def test_programs_get_the_record(client: httpx.Client) -> None:
    id = invoked(client, "losses")
    assert client.get(f"/invocations/{id}").json()["id"] == id
    assert client.get(f"/invocations/{id}.json", headers=HTML).json()["id"] == id


def test_one_that_runs_is_followed_and_its_end_replaces_its_progress(
    client: httpx.Client, held: str, gate: Path
) -> None:
    html = page(client, held)
    assert f'data-follow="/invocations/{held}/events"' in html
    assert "data-over" not in html and "running" in html and "until now" in html
    assert "it has begun" in html
    assert f'action="/invocations/{held}/cancel"' in html
    gate.touch()
    eventually(lambda: "data-over" in block(client, held, "live"))
    story = block(client, held, "story")
    assert "data-follow" not in story and "over" in story and not story.startswith("<!doctype")


def test_run_again_leads_to_a_new_one_that_is_linked_to_the_first(client: httpx.Client) -> None:
    first = invoked(client, "losses", epochs=3)
    answer = client.post(f"/invocations/{first}/again", headers=HTML)
    assert answer.status_code == 303
    again = answer.headers["location"].removeprefix("/invocations/")
    eventually(lambda: client.get(f"/invocations/{again}").json()["status"] == "succeeded")
    assert first in page(client, again) and "Replay of" in page(client, again)
    eventually(lambda: f"/invocations/{again}" in page(client, first))


def test_cancelling_leads_back_and_one_that_is_over_says_so(
    client: httpx.Client, held: str
) -> None:
    answer = client.post(f"/invocations/{held}/cancel", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/invocations/{held}")
    html = page(client, held)
    assert "cancelled" in html and "Why it ended" in html and "somebody cancelled it" in html
    again = client.post(f"/invocations/{held}/cancel", headers=HTML)
    assert again.headers["location"] == f"/invocations/{held}"
    over = invoked(client, "losses")
    late = client.post(f"/invocations/{over}/cancel", headers=HTML)
    told = client.get(late.headers["location"], headers=HTML).text
    assert "could not be cancelled: it had ended already" in told


def test_a_page_of_another_site_can_do_nothing(client: httpx.Client) -> None:
    id = invoked(client, "losses")
    other = HTML | {"Sec-Fetch-Site": "cross-site"}
    assert client.post(f"/invocations/{id}/again", headers=other).status_code == 403


def test_a_failure_leads_to_the_line_that_raised(client: httpx.Client) -> None:
    html = page(client, invoked(client, "raises"))
    assert "ValueError" in html and "told.py" in html and "return int(text)" in html
    assert "&lt;no&gt; number" in html and "<no>" not in html


def test_a_dead_one_shows_every_attempt_and_the_last_words(client: httpx.Client) -> None:
    html = page(client, invoked(client, "dies"))
    assert "dead" in html and "Earlier attempts" in html and "attempt 1, lost" in html
    assert "running, attempt 2" in html and "the last words" in html and "SIGKILL" in html


def test_pictures_are_shown_and_run_nothing(client: httpx.Client) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 300_000
    answer = client.post("/invoke/picture", files={"image": ("a.png", png, "image/png")})
    id = answer.headers["invocation-id"]
    html = page(client, id)
    assert f'<img class="result" src="/invocations/{id}/result"' in html
    assert f'<img class="result" src="/invocations/{id}/blobs/image"' in html
    assert "alert(1)" not in html
    assert client.get(f"/invocations/{id}/result").headers["content-security-policy"] == "sandbox"


def test_of_what_is_large_a_page_holds_little(client: httpx.Client) -> None:
    id = invoked(client, "large")
    html = page(client, id)
    assert "The result is 2.00 MB: these are its first lines." in html
    assert "These are the last lines of 1" in html and "line 3999 of" in html
    assert "line 10 of" not in html
    assert len(html) < 100_000


def test_one_that_is_not_there_is_a_page_that_says_so(client: httpx.Client) -> None:
    answer = client.get("/invocations/none", headers=HTML)
    assert answer.status_code == 404
    assert "there is no invocation &#39;none&#39;" in answer.text
    assert client.post("/invocations/none/again", headers=HTML).status_code == 404


# --- why one waits ----------------------------------------------------------------------------


def life(state: str, spawned_at: float) -> ReplicaLife:
    about: dict[str, Any] = dict.fromkeys(ReplicaLife.__slots__)
    about |= {"function": "f", "device": "cpu", "state": state, "spawned_at": spawned_at}
    return ReplicaLife(**about)


@pytest.fixture
def waiting() -> Callable[..., str | None]:
    """The sentence for one that is queued, given its pool, its queue, and the replicas."""

    def say(
        pool: PoolState | None,
        depth: Depth = WAITING,
        lives: tuple[ReplicaLife, ...] = (),
        status: Status = Status.QUEUED,
        known: bool = True,
        published: bool = True,
    ) -> str | None:
        sources = SimpleNamespace(
            catalog=SimpleNamespace(functions={"f": SimpleNamespace(name="f")} if known else {}),
            fleet=SimpleNamespace(
                depth=lambda queue: depth,
                pools=lambda spec: {"cpu": pool} if pool else {},
                lives=lambda: list(lives),
            ),
        )
        message = Message("0" * 32, "f", "cpu", Payload(), 0.0)
        invocation = Invocation(message, "auto", "v1", status, published=published)
        return why_waiting(cast(Sources, sources), invocation, 100.0)

    return say


def test_why_it_waits_is_a_sentence(waiting: Callable[..., str | None]) -> None:
    starting = PoolState(ReplicaCounts(starting=1), 4)
    assert waiting(starting, lives=(life("starting", 96.8), life("ready", 1.0))) == (
        "Waiting for a replica: starting, for 3.20 s."
    )
    assert waiting(starting) == "Waiting for a replica: 1 starting."
    assert "no worker serves it" in (waiting(None) or "")
    busy = PoolState(ReplicaCounts(busy=4), 4)
    assert "all 4 replicas that may run are busy; 3 wait" in (waiting(busy) or "")
    assert waiting(busy, depth=Depth(0, 4)) == "A worker has it: it runs in a moment."
    trouble = PoolState(ReplicaCounts(), 4, trouble="replicas die while starting")
    assert waiting(trouble) == "Waiting for a replica: replicas die while starting."
    assert "put into its queue" in (waiting(busy, published=False) or "")
    assert "Nothing serves f any more" in (waiting(busy, known=False) or "")
    assert waiting(busy, status=Status.RUNNING) is None


def test_the_end_of_a_long_log_begins_with_a_line() -> None:
    text = "".join(f"line {n}\n" for n in range(20_000))
    shown = log_view(text)
    assert not shown["whole"] and shown["text"].startswith("line ")
    assert text.endswith(shown["text"]) and len(shown["text"]) <= LOG_SHOWN
    assert shown["characters"] == len(text)
    one = log_view("x" * (LOG_SHOWN + 5))
    assert len(one["text"]) == LOG_SHOWN
    assert log_view("short") == {"text": "short", "whole": True, "characters": 5}
