"""What is there to see when everything is over, and what it amounts to.

Nothing here asks anybody: whoever gathers the evidence hands it in, so that the judgement can be
tested without a deployment.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.chaos.receipt import Receipt
from loadtest.chaos.record import TERMINAL, Record
from loadtest.chaos.runs import Run

STOPPED = 1.0  # seconds after a cancel was answered, in which what runs is stopped
SHOWN = 5  # examples of one kind of problem


@dataclass(slots=True)
class Evidence:
    """What callers were told, what is recorded, and what ran."""

    receipts: Mapping[str, Receipt]
    listed: Sequence[Record]  # by GET /invocations
    audits: Sequence[Mapping[str, Any]]  # of every gateway
    large: Mapping[str, str | None]  # digests of results that no row holds
    changed: Sequence[str] = ()  # sentences about records that were terminal and changed
    problems: list[str] = field(default_factory=list)  # found by others
    # Of a deployment that is ours, besides:
    rows: Sequence[Record] | None = None  # of the ledger's table
    runs: Mapping[str, Sequence[Run]] | None = None
    queues: Sequence[str] = ()  # sentences about queues that are not empty
    outages: Sequence[tuple[float, float]] = ()  # of the broker, in unix seconds
    records_everything: bool = True  # also what was answered at once and never promised


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run has shown."""

    accepted: int  # answered 202, or with their outcome
    completed: int  # of these, with a terminal record
    retried: int  # recorded with an attempt above the first
    statuses: dict[str, int]  # of all that is recorded, with what nobody was told of
    lost: int  # answered 202 and without a terminal record
    unrecorded: int  # answered with an outcome, not promised, and without a terminal record
    twice: int  # recorded twice, or changed after it was terminal
    wrong: int  # with another outcome than the order's
    ran_again: int  # more often than the order takes by itself: at least once is the promise
    late: int  # began after its cancel was answered, while nothing was broken
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.lost or self.twice or self.wrong or self.problems)


def judge(evidence: Evidence) -> Verdict:
    """Hold a deployment to what it told its callers."""
    return _Judge(evidence).verdict()


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        rows = evidence.listed if evidence.rows is None else evidence.rows
        self._rows = {row.id: row for row in rows}
        self._problems = list(evidence.problems)

    def verdict(self) -> Verdict:
        receipts = self._evidence.receipts.values()
        missing = [r for r in receipts if not self._is_over(r.id)]
        lost = [r.id for r in missing if r.promised]
        unrecorded = [r.id for r in missing if not r.promised]
        wrong = list(self._wrong())
        twice = [*self._doubled(), *self._evidence.changed]
        again, late = self._ran_again(), list(self._late())
        self._say("lost", [self._describe(id) for id in lost])
        self._say("recorded twice", twice)
        self._say("wrong", wrong)
        self._say("ran though it was cancelled", late)
        if self._evidence.records_everything:
            self._say("answered and not recorded", [self._describe(id) for id in unrecorded])
            self._say("ran and is not recorded", self._ran_unrecorded())
        self._say("recorded and never ran", self._never_ran())
        self._say("not over", [f"{r}" for r in self._rows.values() if not r.terminal])
        self._say("queue not empty", self._evidence.queues)
        self._compare_witnesses()
        statuses = Counter(row.status for row in self._rows.values())
        return Verdict(
            accepted=len(self._evidence.receipts),
            completed=len(self._evidence.receipts) - len(missing),
            retried=sum(row.attempt > 1 for row in self._rows.values()),
            statuses={status: statuses[status] for status in TERMINAL if statuses[status]},
            lost=len(lost),
            unrecorded=len(unrecorded),
            twice=len(twice),
            wrong=len(wrong),
            ran_again=again,
            late=len(late),
            problems=self._problems,
        )

    def _is_over(self, id: str) -> bool:
        row = self._rows.get(id)
        return row is not None and row.terminal

    def _describe(self, id: str) -> str:
        runs = len((self._evidence.runs or {}).get(id, ()))
        receipt = self._evidence.receipts[id]
        return f"{id}: {receipt.order}, told {receipt.told}; {self._rows.get(id)}; {runs} runs"

    def _wrong(self) -> Iterator[str]:
        """What ended otherwise than it must, and what callers were told otherwise."""
        for receipt in self._evidence.receipts.values():
            row = self._rows.get(receipt.id)
            if row is None or not row.terminal:
                continue
            wanted, result = receipt.order.status, receipt.order.result
            cancelled = receipt.cancelled_at != float("inf")
            if cancelled:
                wanted, result = "cancelled", None
            elif row.status == "cancelled" and receipt.may_be_cancelled:
                continue  # its cancel was done, and the answer to that was lost
            recorded = self._result(row)
            told = receipt.told
            if row.status != wanted:
                yield f"{self._describe(row.id)} should be {wanted}"
            elif recorded is not None and recorded != result:
                yield f"{self._describe(row.id)} has another result than it should"
            elif told and (told.status, told.result) != (wanted, result):
                yield f"{self._describe(row.id)} was told otherwise than it is"

    def _result(self, row: Record) -> str | None:
        return self._evidence.large.get(row.id) if row.result is None else row.result

    def _doubled(self) -> list[str]:
        counts = Counter(row.id for row in self._evidence.rows or ())
        listed = Counter(row.id for row in self._evidence.listed)
        return [f"{id} has {n} records" for id, n in (counts | listed).items() if n > 1]

    def _ran_again(self) -> int:
        runs, receipts = self._evidence.runs or {}, self._evidence.receipts
        return sum(len(runs.get(id, ())) > r.order.runs for id, r in receipts.items())

    def _ran_unrecorded(self) -> list[str]:
        return [f"{id}: {runs}" for id, runs in self._known_runs() if id not in self._rows]

    def _never_ran(self) -> list[str]:
        if self._evidence.runs is None:
            return []
        ran = ("succeeded", "failed", "timed_out", "dead")
        rows = self._rows.values()
        return [f"{r}" for r in rows if r.status in ran and r.id not in self._evidence.runs]

    def _late(self) -> Iterator[str]:
        """What began after its cancel was answered, unless the broker could not pass that on."""
        for id, runs in self._known_runs():
            receipt = self._evidence.receipts.get(id)
            if receipt is None:
                continue
            answered, last = receipt.cancelled_at, max(run.at for run in runs)
            broken = any(begin <= last and answered <= end for begin, end in self._evidence.outages)
            if last > answered + STOPPED and not broken:
                yield f"{self._describe(id)} began {last - answered:.1f} s after the answer"

    def _known_runs(self) -> Iterator[tuple[str, Sequence[Run]]]:
        yield from (self._evidence.runs or {}).items()

    def _compare_witnesses(self) -> None:
        """The list, the table and the audit must say the same."""
        rows = {(row.id, row.status, row.attempt) for row in self._rows.values()}
        listed = {(row.id, row.status, row.attempt) for row in self._evidence.listed}
        self._say("listed otherwise than it stands in the table", [f"{x}" for x in rows ^ listed])
        statuses = Counter(row.status for row in self._rows.values())
        for audit in self._evidence.audits:
            if not audit["holds"]:
                self._say("the audit does not hold", audit["problems"])
            told = {status: count for status, count in audit["by_status"].items() if count}
            if self._evidence.rows is not None and told != dict(statuses):
                self._say("the audit counts otherwise", [f"{told}, not {dict(statuses)}"])

    def _say(self, what: str, cases: Sequence[str]) -> None:
        if cases:
            more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
            self._problems.append(f"{what}: {'; '.join(cases[:SHOWN])}{more}")
