"""A short run of `make chaos`: everything there is to break is broken once, and nothing is lost."""

import re
import shutil
from pathlib import Path

import pytest

from loadtest.chaos.campaign import LOG, Campaign
from loadtest.chaos.folder import besiege
from loadtest.chaos.schedule import Kind
from loadtest.chaos.shape import Layout, Shape, Store
from loadtest.servers import PostgresServer, RabbitServer

COUNT = 800
CAMPAIGN = Campaign(
    seed=1,
    count=COUNT,
    shape=Shape(Layout.RECORDER, Store.POSTGRES, workers=2),
    rate=50.0,
    every=1.5,
)
# Of a deployment as roles; only who may mount or is not root can fill a disk.
KINDS = set(Kind) - {Kind.KILL_NODE, Kind.TERM_NODE, Kind.FILL_DISK}


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_recorded_twice_while_everything_is_broken(
    rabbit: RabbitServer, postgres: PostgresServer
) -> None:
    """Over servers of its own: those that tests share only show that there are such programs."""
    told: list[str] = []
    outcome = besiege(CAMPAIGN, told.append, keep=True)
    folder = Path(told[-1].removeprefix("its logs are in "))
    verdict = outcome.verdict
    assert (verdict.lost, verdict.twice, verdict.wrong) == (0, 0, 0), verdict.problems
    assert verdict.holds, verdict.problems
    assert verdict.completed == verdict.accepted >= 0.9 * COUNT
    assert verdict.retried, "what was killed ran again"
    done = set(re.findall(r"is over: (.*)", (folder / LOG).read_text()))
    assert done >= KINDS
    assert done == outcome.faults.keys()
    shutil.rmtree(folder)  # where something is wrong, its logs stay
