"""A replica beside a fresh interpreter, once each."""

import dataclasses
from pathlib import Path

from loadtest.budgets.pace import QUICK
from loadtest.budgets.replicas import replica, replica_start, zygote
from tests.support import eventually


async def test_a_replica_starts_faster_than_a_fresh_interpreter() -> None:
    row = await replica_start(dataclasses.replace(QUICK, forks=2, spawns=1))
    assert row.faults == ()
    assert "n = 2); " in row.measured
    assert row.checks[1].value > 1


async def test_a_replica_is_gone_when_it_was_measured() -> None:
    async with zygote() as parent:
        async with replica(parent) as started:
            assert process_exists(started.pid)
            assert started.seconds > 0
        eventually(lambda: not process_exists(started.pid))


def process_exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
