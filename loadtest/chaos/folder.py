"""Where the files of a run are, and how a run that is ended leaves nothing behind."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from loadtest.chaos.campaign import Campaign, Outcome, Tell, run

PLACE = "/var/tmp"  # on a disk; /tmp is in memory on many machines, where an fsync proves nothing


def besiege(campaign: Campaign, tell: Tell, keep: bool = False) -> Outcome:
    """One run in a folder of its own, which stays where the run does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="lumbre-chaos-", dir=PLACE))
    folder.chmod(0o711)  # PostgreSQL runs as another user where we are root
    kept = True
    try:
        outcome = run(campaign, folder, tell)
        kept = keep or not outcome.verdict.holds
        return outcome
    finally:
        if kept:
            tell(f"its logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Have SIGTERM end what runs as Ctrl-C does: with everything that was started."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
