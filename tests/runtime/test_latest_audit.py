"""An audit is made now and then while somebody looks, and Prometheus is told what it found."""

import asyncio
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime import latest_audit
from runtime.audit import Audit, audit
from runtime.auditor import Auditor, Reckoning
from runtime.census import Oddity
from runtime.errors import LumbreError
from runtime.exposition import Exposition
from runtime.latest_audit import AuditMetrics, LatestAudit
from tests.support import until

GOOD = audit(Counter(succeeded=2), Counter(accepted=2, succeeded=2))
SHORT = audit(Counter(succeeded=1), Counter(accepted=2, succeeded=2))


class Books(Auditor):
    """An auditor that finds what it is told to, when it is let."""

    def __init__(self) -> None:
        self.finds: Audit | LumbreError = GOOD
        self.odd: tuple[Oddity, ...] = ()
        self.audits = 0
        self.may = asyncio.Event()
        self.may.set()

    async def reckon(self, *, repair: bool = False) -> Reckoning:
        self.audits += 1
        await self.may.wait()
        if isinstance(self.finds, LumbreError):
            raise self.finds
        return Reckoning(self.finds, self.odd)


async def made(latest: LatestAudit, problems: int) -> None:
    latest.look()
    await until(lambda: latest.known is not None and latest.known.problems == problems)


def told(latest: LatestAudit) -> dict[str, float]:
    body, _ = Exposition(AuditMetrics(latest)).text("text/plain")
    families = text_string_to_metric_families(body.decode())
    return {sample.name: sample.value for family in families for sample in family.samples}


async def test_nothing_is_told_before_there_was_one() -> None:
    latest = LatestAudit(Books())
    assert told(latest) == {}
    await made(latest, 0)
    found = told(latest)
    assert found["lumbre_audit_problems"] == 0
    assert latest.known and found["lumbre_audit_timestamp_seconds"] == pytest.approx(
        latest.known.at
    )


async def test_what_does_not_balance_and_what_cannot_be_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latest_audit, "EVERY", 0.0)
    monkeypatch.setattr(latest_audit, "SHARE", 1e9)
    books = Books()
    latest = LatestAudit(books)
    books.finds, books.odd = SHORT, (Oddity("1" * 32, "succeeded without a result"),)
    problems = len(SHORT.problems) + 1
    assert problems >= 2
    await made(latest, problems)
    assert told(latest)["lumbre_audit_problems"] == problems
    books.finds, books.odd = GOOD, ()
    await made(latest, 0)
    assert told(latest)["lumbre_audit_problems"] == 0


async def test_fifty_who_look_make_one_audit_and_the_next_one_comes_later() -> None:
    books = Books()
    latest = LatestAudit(books)
    books.may.clear()
    for _ in range(50):
        latest.look()
        await asyncio.sleep(0)
    books.may.set()
    await made(latest, 0)
    for _ in range(50):
        latest.look()
        await asyncio.sleep(0)
    assert books.audits == 1


async def test_an_audit_that_cannot_be_made_leaves_what_was_found_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latest_audit, "EVERY", 0.0)
    monkeypatch.setattr(latest_audit, "SHARE", 1e9)
    books = Books()
    latest = LatestAudit(books)
    await made(latest, 0)
    before = latest.known
    books.finds = LumbreError("the ledger is away")
    latest.look()
    await until(lambda: books.audits == 2)
    await asyncio.sleep(0)
    assert latest.known is before
    books.finds = SHORT
    await made(latest, len(SHORT.problems))  # and it is asked again


async def test_closing_ends_an_audit_that_runs() -> None:
    books = Books()
    books.may.clear()
    latest = LatestAudit(books)
    latest.look()
    await until(lambda: books.audits == 1)
    await latest.close()
    assert latest.known is None
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "audit"]
