"""Which replica is to blame for its failures, and is taken out before it eats the queue.

A replica on a broken GPU fails at once, so it takes more than its share: a black hole.  It is to
blame where it fails time after time while others of the same function and device do well; where
they fail, too, it is the function, and nobody is taken out.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from runtime.lifeline import ReplicaLife

IN_A_ROW = 5  # failures of one replica before anybody is asked about it
# Where a share of the others' invocations fails as well, so many in a row may be bad luck.
CHANCE = 1e-6
CLOCKS = 2.0  # seconds by which the clocks of two machines may differ
INHERITED = 60.0  # seconds within which the successor of one that died takes its row over
# What the caller's input, or the shape of the result, is to blame for; or nobody.
NOBODYS_FAULT = frozenset(("InvalidInput", "ResultTooLarge", "ResultNotSerializable", "Cancelled"))


@dataclass(slots=True)
class Conduct:
    """How a replica does; written on the path of every job, so a success is two assignments."""

    failed: int = 0  # invocations, of those that may be its fault
    in_a_row: int = 0  # jobs that failed since the last that succeeded
    since: float = 0.0  # unix seconds at which the first of the row had failed
    proven_at: float = 0.0  # unix seconds at which the latest to succeed was begun; 0 is none
    job: int = 0  # number of the latest that failed: a batch that fails is one failure


class Suspect(Protocol):
    """A replica, as far as its conduct goes."""

    conduct: Conduct
    served: int  # invocations


@dataclass(frozen=True, slots=True)
class Witness:
    """Another replica of the same function on the same device, here or elsewhere."""

    served: int  # invocations
    failed: int
    failing: bool  # its latest invocation failed
    proven_at: float  # unix seconds at which the latest to succeed was begun; 0 is none

    @classmethod
    def of(cls, conduct: Conduct, served: int) -> "Witness":
        return cls(served, conduct.failed, conduct.in_a_row > 0, conduct.proven_at)

    @classmethod
    def heard(cls, life: ReplicaLife) -> "Witness":
        """One of another worker, whose clock may be ahead of ours."""
        proven_at = life.proven_at - CLOCKS if life.proven_at else 0.0
        return cls(life.served, life.failed, life.failed_in_a_row > 0, proven_at)


def blame(conduct: Conduct, others: Iterable[Witness]) -> str | None:
    """Why a replica is to blame for its failures, in words; None where it is not, or may not be.

    It is if it failed IN_A_ROW times, another one began an invocation since and succeeded, and the
    others fail so seldom that the row is no bad luck: their share of failures (of all they did,
    or of those that fail right now if that is more) to the power of the row is under CHANCE.
    What fails everywhere from some instant on, nobody has begun since and succeeded with.
    """
    if conduct.in_a_row < IN_A_ROW:
        return None
    known = [other for other in others if other.served]
    proven = sum(other.proven_at > conduct.since for other in known)
    if not proven:
        return None
    share = sum(other.failed for other in known) / sum(other.served for other in known)
    failing = sum(other.failing for other in known) / len(known)
    if min(1.0, max(share, failing)) ** conduct.in_a_row >= CHANCE:
        return None
    others_did = f"{proven} other replica{'s' if proven > 1 else ''} succeeded meanwhile"
    return f"taken out: it failed {conduct.in_a_row} times in a row, and {others_did}"


@dataclass(slots=True)
class Quarantine:
    """The conduct of one pool's replicas, beyond the life of each."""

    clock: Callable[[], float] = time.time  # unix seconds
    heard: dict[str, Witness] = field(default_factory=dict)  # of other workers, by replica
    _left: deque[tuple[str | None, float, Conduct]] = field(
        default_factory=lambda: deque(maxlen=64)
    )

    def conduct(self, gpu: str | None) -> Conduct:
        """That of a new replica: the row of one that died of it, on the same GPU, goes on."""
        before = self.clock() - INHERITED
        for left in list(self._left):
            where, at, conduct = left
            if at < before:
                self._left.remove(left)
            elif where == gpu:
                self._left.remove(left)
                conduct.job = 0  # a new process counts its jobs anew
                return conduct
        return Conduct()

    def leave(self, gpu: str | None, conduct: Conduct) -> None:
        """A replica died or was recycled while it failed: its successor is as suspect."""
        if conduct.in_a_row:
            self._left.append((gpu, self.clock(), replace(conduct)))

    def failed(self, conduct: Conduct, job: int, kinds: Iterable[str] = ()) -> None:
        """An invocation failed, in this job of its replica; `kinds` are the error's type and bases.

        Those that are no replica's fault change nothing.
        """
        if not NOBODYS_FAULT.isdisjoint(kinds):
            return
        conduct.failed += 1
        if conduct.job == job:
            return
        conduct.job = job
        if not conduct.in_a_row:
            conduct.since = self.clock()
        conduct.in_a_row += 1

    def verdict(self, suspect: Suspect, here: Iterable[Suspect]) -> str | None:
        """Why a replica is to be taken out: `blame`, by those of its pool and those heard of.

        It is said once; whoever starts in its place starts anew.
        """
        if suspect.conduct.in_a_row < IN_A_ROW:
            return None
        others = [Witness.of(one.conduct, one.served) for one in here if one is not suspect]
        why = blame(suspect.conduct, (*others, *self.heard.values()))
        if why:
            suspect.conduct = Conduct()
        return why
