"""Where the files of a run are."""

import shutil
import tempfile
from pathlib import Path

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
