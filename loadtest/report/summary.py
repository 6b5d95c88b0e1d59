"""What an Outcome adds up to: counts, latencies by function and device, and its sentences.

Everything that is said or drawn of a load test starts from a Summary, so that the terminal, the
pages and the tables cannot disagree.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from loadtest.faults import ACCEPTED, SUCCEEDED, THROTTLED
from loadtest.latencies import Latencies
from loadtest.line import line
from loadtest.outcome import TOTAL, Group, Outcome
from loadtest.quantity import counted, duration, rate, share
from loadtest.report.spread import NOTHING, Spread, spread

GOOD = (SUCCEEDED, ACCEPTED)
SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Row:
    """What one function answered on one device with one status."""

    function: str
    device: str  # as it is shown: "gpu (simulated)"
    gpu: bool
    status: str
    count: int
    phases: dict[str, Spread]  # the whole first

    @property
    def total(self) -> Spread:
        """The whole latency."""
        return self.phases.get(TOTAL, NOTHING)


class Summary:
    """An Outcome, and what follows from it; histograms are read once."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    @cached_property
    def rows(self) -> list[Row]:
        """A row for each group: what succeeded first, then by function and device."""
        rows = [self._row(group) for group in self.outcome.groups]
        return sorted(rows, key=lambda r: (_rank(r.status), r.function, r.device))

    @property
    def good(self) -> list[Row]:
        """Rows of what succeeded or was accepted."""
        return [row for row in self.rows if row.status in GOOD]

    @cached_property
    def counts(self) -> Counter[str]:
        """How many ended with each status; the most frequent fault first."""
        counts: Counter[str] = Counter()
        for group in self.outcome.groups:
            counts[group.status] += group.count
        return Counter(dict(counts.most_common()))

    @property
    def answered(self) -> int:
        """How many succeeded or were accepted."""
        return sum(self.counts[status] for status in GOOD)

    @property
    def failed(self) -> dict[str, int]:
        """Faults, the most frequent first; what was given up after 429s is none of them."""
        return {n: c for n, c in self.counts.items() if c and n not in (*GOOD, THROTTLED)}

    @property
    def invocations(self) -> int:
        """All that were sent, those included whose outcome nobody knows."""
        return self.counts.total() + self.outcome.unanswered

    @property
    def throughput(self) -> float | None:
        """Good answers a second, over the whole load and the wait for its last answers."""
        return self.answered / self.outcome.seconds if self.outcome.seconds > 0 else None

    @cached_property
    def latencies(self) -> dict[str, Latencies]:
        """The whole latencies of what succeeded (or was accepted), by device as it is shown."""
        found: dict[str, Latencies] = {}
        for group in sorted(self.outcome.groups, key=lambda each: each.device):
            if group.status in GOOD and TOTAL in group.phases:
                name = self.shown(group)
                found.setdefault(name, Latencies()).add(Latencies.decode(group.phases[TOTAL]))
        return found

    @cached_property
    def overall(self) -> Spread:
        """The whole latencies of everything that succeeded or was accepted."""
        every = Latencies()
        for each in self.latencies.values():
            every.add(each)
        return spread(every)

    @cached_property
    def simulated(self) -> str:
        """What to say beside the device `gpu`: nothing, `simulated`, or `partly simulated`."""
        flags = {g.simulated for g in self.outcome.groups if _is_gpu(g.device) and g.status in GOOD}
        if flags:
            return "" if flags == {False} else SIMULATED if flags == {True} else "partly simulated"
        if any(group.simulated for group in self.outcome.groups):
            return SIMULATED
        told = [value for name, value in self.outcome.node if name.strip().lower() == SIMULATED]
        return SIMULATED if any(_says_so(value) for value in told) else ""

    def device(self, name: str) -> str:
        """A device as it is shown: a GPU that computes on the CPU says so."""
        return f"{name} ({self.simulated})" if _is_gpu(name) and self.simulated else name

    def shown(self, group: Group) -> str:
        """A group's device as it is shown; what nothing ran has the label of its device."""
        if group.simulated:
            return f"{group.device} ({SIMULATED})"
        return group.device if group.status in GOOD else self.device(group.device)

    def _row(self, group: Group) -> Row:
        names = sorted(group.phases, key=lambda name: name != TOTAL)
        phases = {name: spread(Latencies.decode(group.phases[name])) for name in names}
        device = self.shown(group)
        return Row(group.function, device, _is_gpu(group.device), group.status, group.count, phases)

    # ── sentences ─────────────────────────────────────────────────────────────────────────────

    @property
    def headline(self) -> str:
        """The whole load test in a sentence."""
        outcome, took = self.outcome, duration(self.outcome.seconds)
        if not self.invocations:
            return f"Nothing was sent in {took}."
        parts = [f"{self._answered()} in {took} ({rate(self.throughput)})", *self._latency()]
        if self.failed:
            total = counted(sum(self.failed.values()), "fault")
            parts.append(f"{total}: {self.told_faults()}")
        if given_up := self.counts[THROTTLED]:
            parts.append(f"{given_up:,} given up after 429s")
        if outcome.unanswered:
            parts.append(f"{counted(outcome.unanswered, 'answer')} had not come when it ended")
        return "; ".join(parts) + "."

    def told_faults(self) -> str:
        """Faults by name: 20 timed_out, 6 refused."""
        return ", ".join(f"{n:,} {line(name)}" for name, n in self.failed.items())

    @property
    def interrupted(self) -> str:
        """Why it ended early and what that means; empty where it ran to its end."""
        why = self.outcome.interrupted
        if why is None:
            return ""
        return f"Interrupted: {line(why).rstrip('.')}. What follows is what ran until then."

    @property
    def generator(self) -> str:
        """Whether the numbers are the server's or the load generator's own limits."""
        found, seconds = self.outcome.generator, len(self.outcome.series)
        if not found.saturated and not found.reasons:
            if not seconds:
                return "Nothing can be said of the generator: no second of load was measured."
            return f"The generator was not the bottleneck: {self._effort()}."
        why = "; ".join(line(reason).rstrip(".") for reason in found.reasons) or self._effort()
        where = (
            f" in {found.saturated:,} of {counted(seconds, 'second')}" if found.saturated else ""
        )
        return (
            f"The generator was the bottleneck{where}: {why}. Latencies there are longer, and"
            " throughput is lower, than the server's own."
        )

    @property
    def objectives(self) -> str:
        """How the SLO came out."""
        asked = self.outcome.objectives
        if not asked:
            return "No SLO was asked for."
        missed = [
            f"{line(each.text)} was asked, {line(each.measured)} measured"
            for each in asked
            if not each.met
        ]
        return f"SLO missed: {'; '.join(missed)}." if missed else "SLO met."

    @property
    def throttled(self) -> str:
        """How often the node said to wait; empty where it never did."""
        n = self.outcome.throttled
        if not n:
            return ""
        be = "was" if n == 1 else "were"
        lost = self.counts[THROTTLED]
        given_up = f" {counted(lost, 'invocation')} got no other answer." if lost else ""
        return (
            f"{counted(n, 'answer')} {be} 429: the queue was full and the node said to wait. They"
            f" are no faults; what was sent again has the wait in its latency.{given_up}"
        )

    @property
    def audit(self) -> str:
        """Whether the node accounts for everything that it accepted."""
        found = self.outcome.audit
        if found is None:
            return "Audit: the node was not asked, or did not answer."
        total = found.get("accepted")
        held = found.get("by_status") or {}
        parts = [f"{n:,} {line(str(name))}" for name, n in held.items() if isinstance(n, int) and n]
        if isinstance(found.get("purged"), int) and found["purged"]:
            parts.append(f"{found['purged']:,} purged by retention")
        told = f"{total:,} accepted = {' + '.join(parts) or '0'}" if isinstance(total, int) else ""
        if found.get("holds"):
            return f"Audit holds: every accepted invocation is accounted for ({told})."
        why = "; ".join(line(str(each)) for each in found.get("problems") or ("no reason given",))
        return f"Audit does not hold: {why} ({told})." if told else f"Audit does not hold: {why}."

    @property
    def bottleneck(self) -> bool:
        """Whether the generator, and not the server, was a limit at any time."""
        return bool(self.outcome.generator.saturated or self.outcome.generator.reasons)

    def _answered(self) -> str:
        good, accepted = self.answered, self.counts[ACCEPTED]
        count = "none" if not good else f"{good:,}"
        verb = "succeeded" if not accepted else "were accepted (202)"
        if accepted and self.counts[SUCCEEDED]:
            verb = f"succeeded or were accepted ({accepted:,} with 202)"
        if good == self.invocations:
            all_ = "the one invocation" if good == 1 else f"all {good:,} invocations"
            return _capital(f"{all_} {verb}")
        return _capital(f"{count} of {counted(self.invocations, 'invocation')} {verb}")

    def _latency(self) -> list[str]:
        found = self.overall
        if not found.count:
            return []
        return [f"p50 {duration(found.at(50))}, p99 {duration(found.at(99))}"]

    def _effort(self) -> str:
        found = self.outcome.generator
        told = [f"it used {share(found.cpu)} of one core"]
        if math.isfinite(found.late_p99):
            told.append(f"99 % of its requests left at most {duration(found.late_p99)} late")
        told.append(f"at most {counted(found.connections, 'connection')} open at once")
        return ", ".join(told)


def phases(rows: Iterable[Row]) -> list[str]:
    """Names of phases in the order in which they happen; those of functions last."""
    known = (TOTAL, "queue", "start", "run")
    found = {name: None for row in rows for name in row.phases}
    return [*(name for name in known if name in found), *(n for n in found if n not in known)]


def _rank(status: str) -> int:
    return GOOD.index(status) if status in GOOD else len(GOOD)


def _is_gpu(device: str) -> bool:
    return device == "gpu"


def _says_so(value: str) -> bool:
    return value.strip().lower() in ("gpu", "yes", "true", "1") or "gpu" in value.lower()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
