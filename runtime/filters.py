"""What a list of invocations is filtered by, as a URL says it: the API's and the console's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.errors import InvalidInput
from runtime.model import Status
from runtime.query import instant, known_device
from runtime.search import Wanted

SINCE = {"5m": 300.0, "1h": 3600.0, "24h": 86_400.0, "7d": 604_800.0}  # seconds
COLD = {"yes": True, "no": False}
NAMES = ("function", "status", "device", "cold", "slower", "since", "id", "batch")


@dataclass(frozen=True, slots=True)
class Filters:
    """The parameters of a query: texts, empty for any."""

    function: str = ""
    status: str = ""
    device: str = ""
    cold: str = ""  # yes, no
    slower: str = ""  # seconds
    since: str = ""  # a span such as 5m, or an RFC 3339 instant
    id: str = ""  # or its beginning
    batch: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filters":
        """From the query of a URL; what a form sends empty is any."""
        return cls(**{name: query.get(name, "").strip() for name in NAMES})

    @property
    def given(self) -> dict[str, str]:
        """Those that filter anything, as a query says them."""
        return {name: text for name in NAMES if (text := getattr(self, name))}

    def wanted(self, now: float) -> Wanted:
        """What to search for; InvalidInput names the field that cannot be understood."""
        if self.status and self.status not in set(Status):
            raise InvalidInput("status", f"is {self.status!r}: one of {', '.join(Status)}")
        if self.cold and self.cold not in COLD:
            raise InvalidInput("cold", f"is {self.cold!r}: yes, no, or nothing for either")
        return Wanted(
            function=self.function or None,
            status=Status(self.status) if self.status else None,
            device=known_device(self.device or None),
            cold=COLD.get(self.cold),
            slower=_seconds(self.slower),
            since=now - SINCE[self.since] if self.since in SINCE else instant(self.since or None),
            batch=self.batch or None,
            id=self.id or None,
        )


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e9:
        raise InvalidInput("slower", f"is {text!r}: give seconds, such as 0.5")
    return seconds
