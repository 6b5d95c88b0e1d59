"""What the console costs, measured."""

import dataclasses
from pathlib import Path

from loadtest.budgets.console import tabs_row
from loadtest.budgets.filled import fill
from runtime.ledger import Ledger
from runtime.model import Status
from tests.loadtest.budgets.test_throughput import ROUND


async def test_a_filled_ledger_adds_up_and_lies_within_a_day(tmp_path: Path) -> None:
    await fill(tmp_path, 2500)
    ledger = await Ledger.open(f"sqlite+aiosqlite:///{tmp_path}/ledger.db")
    try:
        audit = await ledger.audit()
        assert audit.holds
        assert audit.accepted == 2500
        assert 0 < audit.by_status[Status.FAILED] < 150
    finally:
        await ledger.close()


def test_the_share_with_tabs_is_of_the_same_round() -> None:
    half = dataclasses.replace(ROUND, rate=500.0)
    row = tabs_row([(ROUND, half), (half, half), (ROUND, half)], [0.01, 0.02], [])
    assert row.measured.startswith("50.0 %")
    assert not row.met


def test_a_refresh_that_failed_makes_the_row_void() -> None:
    row = tabs_row([(ROUND, ROUND)], [0.01], ["http/1.1 500 internal server error"])
    assert not row.met
    assert "500" in row.verdict
