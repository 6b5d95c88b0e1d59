"""How many consumers of which sizes make up a prefetch that changes all the time.

AMQP fixes a consumer's prefetch when it starts, and counts only what that consumer was sent.  So a
rise starts another consumer beside, a fall ends some, and what ended ones still have in hand takes
its part of the whole until it is settled.  (RabbitMQ 3.10 breaks the connection when a consumer tag
is used again while deliveries of its first life are out: each gets its own.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

MOST = 65_535  # AMQP's prefetch count has 16 bits
SHARE = 8  # a new consumer has at least this part of the whole, so that they do not get many
CROWD = 12  # consumers after which all are ended, to begin with few again


@dataclass(frozen=True, slots=True)
class Change:
    """Which consumers to end, and of what size to start one; then look again."""

    end: tuple[str, ...] = ()
    start: int = 0


def next_change(wanted: int, live: Mapping[str, int], lingering: int) -> Change:
    """The next step towards a prefetch: never more in hand than wanted, once it has been told.

    `live` are the sizes of consumers by tag; `lingering` is what ended ones still have in hand.
    """
    wanted = min(wanted, MOST)
    taken = sum(live.values())
    if live and taken + lingering > wanted:
        return Change(end=_fewest(live, taken + lingering - wanted))
    room = wanted - taken - lingering
    if room <= 0 or (lingering and room < max(1, wanted // SHARE)):
        return Change()
    if len(live) >= CROWD:
        return Change(end=tuple(live))
    return Change(start=room)


def _fewest(live: Mapping[str, int], excess: int) -> tuple[str, ...]:
    """The smallest consumer that is enough, or else the largest ones until it is."""
    enough = [tag for tag, size in live.items() if size >= excess]
    if enough:
        return (min(enough, key=live.__getitem__),)
    ended: list[str] = []
    for tag in sorted(live, key=live.__getitem__, reverse=True):
        ended.append(tag)
        excess -= live[tag]
        if excess <= 0:
            break
    return tuple(ended)
