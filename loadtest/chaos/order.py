"""What is asked of a deployment under fire, and what must come of it.

The answer to an order is a function of its input, so that a result which went to the wrong
invocation shows.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LARGE = 300 * 1024  # bytes: over what travels in a message, so by reference both ways
PATTERN = bytes(range(256)) * (LARGE // 256)


class Way(StrEnum):
    """How an order is given."""

    ACCEPT = "202"  # answered at once, once it is durable
    KEYED = "202 with an Idempotency-Key"  # the same, and sent again if the answer is lost
    WAIT = "synchronous"  # answered with its outcome
    OWN = "synchronous under an id of its own"  # sent again under it if the answer is lost
    BATCH = "in a batch"  # accepted together with others, under an Idempotency-Key


@dataclass(frozen=True, slots=True)
class Order:
    """One invocation to ask for."""

    number: int
    function: str
    way: Way
    parameters: dict[str, Any] = field(default_factory=dict)
    status: str = "succeeded"  # how it ends
    runs: int = 1  # it takes where nothing else fails
    cancel_after: float | None = None  # seconds from its 202 until somebody cancels it
    watched: bool = False  # its record is looked at again and again

    @property
    def body(self) -> bytes:
        """What is sent: JSON parameters, or the bytes."""
        if self.function == "chaos_large":
            return b"%016x" % self.number + PATTERN
        return json.dumps(self.parameters).encode()

    @property
    def media_type(self) -> str:
        return "application/octet-stream" if self.function == "chaos_large" else "application/json"

    @property
    def result(self) -> str | None:
        """The digest of the result it must have; None where there is none."""
        if self.status != "succeeded":
            return None
        if self.function == "chaos_large":
            return digest(self.body[::-1])
        return digest({"number": self.number, "square": self.number * self.number})


def digest(result: Any) -> str:
    """What tells one result from another: of bytes as they are, of JSON whatever its spacing."""
    data = result if isinstance(result, bytes) else json.dumps(result, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


FUNCTIONS = {  # of a thousand orders
    "chaos_quick": 749,
    "chaos_slow": 80,
    "chaos_moody": 100,
    "chaos_large": 20,
    "chaos_hopeless": 20,
    "chaos_fragile": 20,
    "chaos_doomed": 4,
    "chaos_endless": 7,
}
_WAYS = {Way.ACCEPT: 38, Way.KEYED: 10, Way.WAIT: 35, Way.OWN: 7, Way.BATCH: 10}
CANCELLED = 0.05  # of what is answered 202
WATCHED = 0.03


def orders(seed: int, count: int) -> Iterator[Order]:
    """So many orders; the same seed gives the same ones."""
    chance = random.Random(f"orders {seed}")
    for number in range(count):
        function = _one_of(chance, FUNCTIONS)
        way = Way(_one_of(chance, _WAYS))
        if function == "chaos_large" and way is Way.BATCH:  # whose items are JSON
            way = Way.ACCEPT
        cancelled = way is Way.ACCEPT and chance.random() < CANCELLED
        after = chance.choice((0.0, 0.0, 0.1, 0.4)) if cancelled else None
        yield _order(chance, number, function, way, after, chance.random() < WATCHED)


def _order(
    chance: random.Random, number: int, function: str, way: Way, after: float | None, watched: bool
) -> Order:
    parameters, status, runs = {"number": number}, "succeeded", 1
    match function:
        case "chaos_slow":
            parameters["milliseconds"] = chance.randint(50, 300)
        case "chaos_moody":
            parameters["failures"] = failures = chance.choice((1, 1, 2))
            runs += failures
        case "chaos_fragile":
            parameters["crashes"] = crashes = chance.choice((1, 1, 2))
            runs += crashes
        case "chaos_hopeless":
            status = "failed"
        case "chaos_doomed":
            status, runs = "dead", 2
        case "chaos_endless":
            status = "timed_out"
        case "chaos_large":
            parameters = {}
    return Order(number, function, way, parameters, status, runs, after, watched)


def _one_of(chance: random.Random, weights: dict[Any, int]) -> Any:
    (chosen,) = chance.choices(_names(weights), list(weights.values()))
    return chosen


def _names(weights: dict[Any, int]) -> Sequence[Any]:
    return list(weights)
