"""When a worker of one pool ends, so that somebody sees it."""

from dataclasses import dataclass
from typing import cast

from runtime.errors import LumbreError
from runtime.pool import Pool
from runtime.surrender import STARTS, WITHIN, Surrender


@dataclass
class FailingPool:
    queue: str = "matmul.gpu"
    failed_starts: int = 0
    trouble: str = ""

    @property
    def as_pool(self) -> Pool:
        return cast(Pool, self)


def test_five_failed_starts_in_a_row_end_it_with_their_reason() -> None:
    over: list[LumbreError] = []
    surrender = Surrender(over.append)
    for failed in range(STARTS + 1):
        assert not over
        trouble = "UnfitGpu: GPU 0 failed its fitness check: no kernel image"
        surrender.changed(FailingPool(failed_starts=failed, trouble=trouble).as_pool)
    assert "queue=matmul.gpu" in str(over[0])
    assert "GPU 0 failed its fitness check" in str(over[0])


def test_two_taken_out_within_ten_minutes_end_it() -> None:
    over: list[LumbreError] = []
    now = [0.0]
    surrender = Surrender(over.append, lambda: now[0])
    pool = FailingPool().as_pool
    for at in (0.0, WITHIN + 1, 3 * WITHIN):
        now[0] = at
        surrender.taken_out(pool, "taken out: it failed 5 times in a row")
        assert not over
    now[0] += WITHIN - 1
    surrender.taken_out(pool, "taken out: it failed 6 times in a row")
    assert "2 of its replicas" in str(over[0])
    assert "6 times in a row" in str(over[0])
