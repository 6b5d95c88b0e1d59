"""What is over is on record before a page leads to it."""

from typing import Any, cast

import pytest

from console import moment
from console.moment import settle
from runtime.invocations import Invocations
from runtime.model import Invocation, Message, Payload, Status

ID = "019a0000-0000-7000-8000-000000000001"


def invocation(status: Status) -> Invocation:
    payload = Payload(b"{}", ())
    message = Message(ID, "nap", "cpu", payload, 1.0, 1, 0, "")
    return Invocation(message, "auto", "v1", status=status)


class Slow:
    """Invocations whose recorder comes after their answers."""

    def __init__(self, answer: Status | None, *known: Status | None) -> None:
        self.answer = answer
        self.known = list(known)
        self.looks = 0

    async def wait(self, started: Invocation, seconds: float) -> Invocation | None:
        return invocation(self.answer) if self.answer else None

    async def get(self, id: str) -> Invocation | None:
        self.looks += 1
        status = self.known.pop(0) if len(self.known) > 1 else self.known[0]
        return invocation(status) if status else None


async def settled(slow: Slow) -> Invocation | None:
    return await settle(cast(Invocations, cast(Any, slow)), invocation(Status.QUEUED))


async def test_what_is_over_is_waited_for_until_its_record_says_so() -> None:
    slow = Slow(Status.SUCCEEDED, None, Status.RUNNING, Status.SUCCEEDED)
    over = await settled(slow)
    assert over and over.terminal
    assert slow.looks == 3


async def test_what_goes_on_is_not_waited_for() -> None:
    slow = Slow(None, None)
    assert await settled(slow) is None
    assert slow.looks == 0


async def test_a_recorder_that_does_not_come_is_not_waited_for_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(moment, "RECORDED", 0.05)
    assert await settled(Slow(Status.FAILED, None)) is not None
