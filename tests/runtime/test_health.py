"""What probes are answered, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httpx
import pytest

from runtime.bus import Bus
from runtime.health import Health
from runtime.liveness import STALE, Liveness


class Rig:
    """A role's health, and a client that asks about it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.now = 0.0
        self.lacking: str | None = "no replica has been ready yet"
        self.trouble: str | None = None
        liveness = Liveness(cast(Bus, None), list, clock=lambda: self.now)
        self.health = Health(
            liveness,
            lambda: self.lacking,
            lambda: self.trouble,
            lambda accept: (f"asked for {accept}".encode(), "text/plain; version=9"),
        )
        client._transport = httpx.ASGITransport(self.health.app())
        self.client = client

    async def told(self) -> dict[str, int]:
        paths = ("healthz", "readyz", "startupz")
        return {path: (await self.client.get(f"/{path}")).status_code for path in paths}

    async def why(self, path: str) -> str:
        answer = await self.client.get(path)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        reason: str = answer.json()["detail"]
        return reason


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with httpx.AsyncClient(base_url="http://pod") as client:
        yield Rig(client)


async def test_one_that_starts_is_alive_and_nothing_else_however_long_that_takes(rig: Rig) -> None:
    rig.now += 10 * STALE
    assert await rig.told() == {"healthz": 200, "readyz": 503, "startupz": 503}
    assert await rig.why("/readyz") == "it is starting"


async def test_one_whose_setup_is_not_done_tells_what_is_missing(rig: Rig) -> None:
    rig.health.up = True
    assert await rig.told() == {"healthz": 200, "readyz": 503, "startupz": 503}
    assert await rig.why("/startupz") == "no replica has been ready yet"


async def test_setup_is_done_once(rig: Rig) -> None:
    rig.health.up, rig.lacking = True, None
    assert await rig.told() == {"healthz": 200, "readyz": 200, "startupz": 200}
    assert (await rig.client.get("/readyz")).json() == {"status": "ready"}
    rig.lacking, rig.trouble = "another one is being set up", "the broker is away"
    assert await rig.told() == {"healthz": 200, "readyz": 503, "startupz": 200}
    assert await rig.why("/readyz") == "the broker is away"


async def test_one_that_drains_is_not_ready_and_is_left_alone(rig: Rig) -> None:
    rig.health.up, rig.lacking = True, None
    await rig.told()
    rig.health.draining = True
    rig.now += 10 * STALE  # a job of an hour may be running
    assert await rig.told() == {"healthz": 200, "readyz": 503, "startupz": 200}
    assert "draining" in await rig.why("/readyz")


async def test_one_whose_broker_loop_does_not_turn_is_to_be_restarted(rig: Rig) -> None:
    rig.health.up, rig.lacking = True, None
    rig.now += STALE + 1
    assert (await rig.told())["healthz"] == 503
    assert "has not turned for 31 s" in await rig.why("/healthz")


async def test_a_start_that_took_long_counts_from_its_end(rig: Rig) -> None:
    rig.now += 10 * STALE
    running = asyncio.create_task(rig.health.run())
    await asyncio.sleep(0)
    assert rig.health.up
    assert (await rig.told())["healthz"] == 200
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_metrics_are_told_in_the_format_that_is_asked_for(rig: Rig) -> None:
    answer = await rig.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.text == "asked for application/openmetrics-text"
    assert answer.headers["content-type"] == "text/plain; version=9"
