"""Functions that set themselves up and keep what they made."""

import os
from pathlib import Path

from runtime import Context, Scaling, function

FOLDER = Path(os.environ.get("WILD_FOLDER", "."))


@function(scaling=Scaling(max_replicas=1))
class Keeper:
    """Count the calls since setup."""

    def setup(self, context: Context) -> None:
        self.setups = getattr(self, "setups", 0) + 1
        self.calls = 0

    def __call__(self, context: Context) -> dict[str, int]:
        self.calls += 1
        return {"setups": self.setups, "calls": self.calls, "pid": os.getpid()}


@function(scaling=Scaling(max_replicas=1))
class Fussy:
    """Start only where there is a file named `weights`; it says how: raise, exit or fine."""

    def setup(self, context: Context) -> None:
        how = (FOLDER / "weights").read_text()
        if how == "exit":
            print("no weights today", flush=True)
            os._exit(7)

    def __call__(self) -> int:
        return os.getpid()
