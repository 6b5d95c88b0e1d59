"""What there is to see on the pages: invocations of every fate, sent before the first is opened."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.console.benching import kept
from tests.loadtest.suite.runs import made
from tests.support import RunningNode, eventually

BEFORE, AFTER = "20261123-100000-000a", "20261123-110000-000b"  # ids of two benchmarks
ENDED = {"succeeded", "failed", "timed_out", "cancelled", "dead"}
ASYNC = {"Prefer": "respond-async"}
LONG = "a_function_with_a_name_that_is_just_exactly_sixty_characters"


@dataclass(frozen=True, slots=True)
class Seeded:
    """Ids of invocations by what became of them."""

    succeeded: str
    failed: str
    dead: str
    large: str
    long: str
    steps: str
    image: str
    cancelled: str


def seed(node: RunningNode) -> Seeded:
    """Invoke, and wait until all has ended; two benchmarks of made-up numbers lie there, too."""
    client = node.client
    folder, now = node.state / "benchmarks", time.time()
    kept(folder, BEFORE, made(gpu="simulated"), began_at=now - 900)
    slower = made(gpu="simulated", seed=2, slower=1.5)
    kept(folder, AFTER, slower, began_at=now - 300, busiest=2, disturbed=12.5)
    for device in ("cpu", "gpu"):
        for n in (64, 96, 128) * 4:
            answer = client.post(f"/invoke/matmul?device={device}", json={"n": n})
            assert answer.status_code == 200, answer.text
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "succeeded": ("every_type", {"text": "<b>bold</b> & long " + "x" * 40}),
        "failed": ("fails", {}),
        "dead": ("dies", {"note": "one"}),
        "large": ("large", {}),
        "long": (LONG, {}),
        "steps": ("steps", {"count": 8, "pause": 0.02}),
        "image": ("image_filter", {"n": 64}),
        "cancelled": ("steps", {"count": 1000, "pause": 1}),
    }
    ids = {name: _sent(client, *what) for name, what in asked.items()}
    for name in ("failed", "dead"):  # some more, so that lists are lists
        _sent(client, *asked[name])
    client.delete(f"/invocations/{ids['cancelled']}").raise_for_status()
    for id in ids.values():
        eventually(lambda id=id: _ended(client, id), within=60)  # type: ignore[misc]
    return Seeded(**ids)


def running(node: RunningNode) -> str:
    """The id of an invocation that goes on for minutes."""
    id = _sent(node.client, "steps", {"count": 600, "pause": 0.3})
    eventually(lambda: _status(node.client, id) == "running", within=30)
    return id


def mercy(folder: Path) -> Path:
    """The file that lets `dies` live once it is there."""
    return folder / "mercy"


def _sent(client: httpx.Client, function: str, body: dict[str, Any]) -> str:
    answer = client.post(f"/invoke/{function}", json=body, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _status(client: httpx.Client, id: str) -> str:
    return str(client.get(f"/invocations/{id}").json()["status"])


def _ended(client: httpx.Client, id: str) -> bool:
    return _status(client, id) in ENDED
