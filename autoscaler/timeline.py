"""Backlog and replicas over time, in so many buckets as a picture needs and no more."""

from dataclasses import dataclass

MOST = 2048  # buckets; neighbours become one where there would be more


@dataclass(frozen=True, slots=True)
class Moment:
    """What was so at one instant: messages, and replicas by what they did."""

    at: float  # seconds from the beginning
    ready: int  # messages
    unacknowledged: int
    starting: int  # replicas
    idle: int
    busy: int
    draining: int

    @property
    def backlog(self) -> int:
        return self.ready + self.unacknowledged

    @property
    def replicas(self) -> int:
        """All there are, those that drain too."""
        return self.starting + self.idle + self.busy + self.draining


class Timeline:
    """Keeps the fullest moment of every bucket: of the most replicas, and then the most backlog.

    As the console's own charts do, so that a short peak is not lost between two looks; and how each
    bucket ended, which is what goes on after it.
    """

    def __init__(self, width: float) -> None:
        self.width = width  # seconds of a bucket
        self._buckets: dict[int, tuple[Moment, Moment]] = {}  # the fullest and the last of each

    def note(self, moment: Moment) -> None:
        """Take in a moment; they come in the order of time."""
        _note(self._buckets, int(moment.at / self.width), moment, moment)
        if len(self._buckets) > MOST:
            self.width *= 2
            held, self._buckets = self._buckets, {}
            for number, (fullest, last) in held.items():
                _note(self._buckets, number // 2, fullest, last)

    def sampled(self, seconds: float, count: int) -> list[Moment | None]:
        """The fullest of each of `count` equal parts of so many seconds; None before the first.

        A part in which nothing was noted is as the one before ended.
        """
        parts: dict[int, tuple[Moment, Moment]] = {}
        for fullest, last in self._buckets.values():
            _note(parts, int(fullest.at / seconds * count), fullest, fullest)
            _note(parts, int(last.at / seconds * count), last, last)
        found: list[Moment | None] = []
        before: Moment | None = None
        for number in range(count):
            if number in parts:
                fullest, before = parts[number]
                found.append(fullest)
            else:
                found.append(before)
        return found


def _note(
    buckets: dict[int, tuple[Moment, Moment]], number: int, fullest: Moment, last: Moment
) -> None:
    held = buckets.get(number)
    if held is not None and _fullness(held[0]) >= _fullness(fullest):
        fullest = held[0]
    buckets[number] = fullest, last


def _fullness(moment: Moment) -> tuple[int, int]:
    return moment.replicas, moment.backlog
