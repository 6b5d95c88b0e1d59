"""Callers: they give their orders, cancel some of them, and keep what they were told."""

import asyncio
import time
from collections.abc import Iterator, Sequence

import httpx

from loadtest.chaos.asker import Asker, Request, outcome
from loadtest.chaos.order import Order, Way
from loadtest.chaos.receipt import Receipt, Receipts

AT_ONCE = 128  # callers


class Callers:
    """So many callers; `run` tells their keys and ids from those of other runs."""

    def __init__(self, asker: Asker, receipts: Receipts, run: str) -> None:
        self._asker = asker
        self._receipts = receipts
        self._run = run
        self._cancels: set[asyncio.Task[None]] = set()

    async def give(self, orders: Sequence[Order], each: float) -> None:
        """Give every order, one `each` so many seconds, or later where answers take long."""
        waiting, began = iter(orders), time.monotonic()
        async with asyncio.TaskGroup() as callers:
            for _ in range(AT_ONCE):
                callers.create_task(self._serve(waiting, began, each))
        await asyncio.gather(*self._cancels)

    async def _serve(self, waiting: Iterator[Order], began: float, each: float) -> None:
        for order in waiting:
            await asyncio.sleep(began + order.number * each - time.monotonic())
            await self._give(order)

    async def _give(self, order: Order) -> None:
        answer = await self._asker.insist(self._request(order))
        if answer is None:
            return
        id = answer.headers.get("invocation-id")
        if id is not None and answer.status_code == 202:
            after = order.cancel_after
            receipt = self._receipts.accepted(order, id, may_be_cancelled=after is not None)
            if after is not None:
                self._cancels.add(asyncio.create_task(self._cancel(receipt, after)))
        elif id is not None and (told := outcome(answer)):
            self._receipts.ended(order, id, told)
        else:
            self._unexpected(f"{order}", answer)

    def _request(self, order: Order) -> Request:
        name = f"chaos-{self._run}-{order.number}"
        method, path = "POST", f"/invoke/{order.function}"
        headers = {"Content-Type": order.media_type}
        match order.way:
            case Way.ACCEPT:
                headers["Prefer"] = "respond-async"
            case Way.KEYED:
                headers |= {"Prefer": "respond-async", "Idempotency-Key": name}
            case Way.OWN:
                method, path = "PUT", f"/invocations/{name}?function={order.function}"
        return Request(method, path, headers, order.body)

    async def _cancel(self, receipt: Receipt, after: float) -> None:
        """Cancel it; 409 says that it was too late."""
        await asyncio.sleep(after)
        answer = await self._asker.insist(Request("DELETE", f"/invocations/{receipt.id}"))
        if answer is None:
            return
        if answer.status_code == 200:
            receipt.cancelled_at = time.time()
        elif answer.status_code != 409:
            self._unexpected(f"cancelling {receipt.id}", answer)

    def _unexpected(self, what: str, answer: httpx.Response) -> None:
        text = f"{what} was answered {answer.status_code}: {answer.text[:400]}"
        self._receipts.problems.append(text)
