"""Runs that arrived are read in parts, newest first, in every database."""

from typing import Any

import orjson
import pytest

from runtime import runs
from runtime.ledger import Ledger
from runtime.model import Device, Invocation, Message, Payload, Status

BEGAN = 1_700_000_000.0


def invocation(number: int, at: float, **changes: Any) -> Invocation:
    device: Device = changes.pop("device", "cpu")
    message = Message(f"i{number:05}", "f", device, Payload(), BEGAN + at)
    made = Invocation(message, requested_device="auto", version="1", **changes)
    made.finished_at = BEGAN + at + 1
    return made


async def test_those_that_ran_to_an_end_are_read_newest_first(ledger: Ledger) -> None:
    times = {"queue": 0.5, "run": 2.0}
    ran = [
        invocation(n, n // 2, status=Status.SUCCEEDED, timings=times, cold=n == 3) for n in range(7)
    ]
    others = [
        invocation(10, 1, status=Status.QUEUED),
        invocation(11, 1, status=Status.CANCELLED),
        invocation(12, 1, status=Status.SUCCEEDED, device="gpu"),
        invocation(13, 2, status=Status.FAILED, timings=times),
        invocation(14, 2, status=Status.TIMED_OUT),
    ]
    await ledger.write([*ran, *others])
    found = await ledger.runs.arrived("f", "cpu", BEGAN + 1, 100)
    assert [each.at - BEGAN for each in found] == [3, 2, 2, 2, 2, 1, 1]
    assert sum(each.cold for each in found) == 1
    assert [orjson.loads(each.timings)["run"] for each in found if each.timings] == [2.0] * 6
    assert len(await ledger.runs.arrived("f", "cpu", BEGAN, 3)) == 3
    assert await ledger.runs.arrived("f", "cpu", BEGAN + 10, 3) == []


@pytest.mark.parametrize("limit", [10, 23, 40])
async def test_none_is_read_twice_or_left_out_between_two_parts(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(runs, "MAX_PART", 5)
    await ledger.write(
        [
            invocation(n, n // 7, status=Status.SUCCEEDED, timings={"run": float(n)})
            for n in range(23)
        ]
    )
    found = await ledger.runs.arrived("f", "cpu", BEGAN, limit)
    told = [orjson.loads(each.timings or "")["run"] for each in found]
    assert told == [float(n) for n in range(22, -1, -1)][:limit]
