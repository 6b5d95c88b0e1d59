"""Callers who wait are answered, also those who begin to wait as their gateway drains."""

import asyncio

from runtime.waiting import Waiters


async def test_who_waits_is_let_go_as_a_node_drains_and_so_is_who_comes_later() -> None:
    waiters = Waiters()
    early = asyncio.create_task(waiters.wait("queued", 300))
    staying = asyncio.create_task(waiters.wait("running", 300))
    await asyncio.sleep(0)
    waiters.release(lambda id: id == "queued")
    assert await early is None
    async with asyncio.timeout(5):
        assert await waiters.wait("queued", 300) is None  # a creation that the drain overtook
    assert not staying.done() and list(waiters) == ["running"]
    waiters.release(lambda _: True)
    assert await staying is None
    assert list(waiters) == []
