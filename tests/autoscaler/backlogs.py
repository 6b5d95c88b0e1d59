"""Backlogs that a test sets."""

from collections.abc import Collection, Mapping

from runtime.errors import LumbreError


class SetBacklogs:
    """`Backlogs` of some queues; an error instead of a number is raised when it is read."""

    def __init__(self, **counts: "int | LumbreError") -> None:
        self.counts = {name.replace("__", "."): count for name, count in counts.items()}
        self.seen: dict[str, int] | None = None  # None: what is so
        self.awake: set[str] = set()
        self.reads = 0

    def queues(self) -> Collection[str]:
        return list(self.counts)

    def has(self, queue: str) -> bool:
        return queue in self.counts

    async def read(self, queue: str) -> int:
        self.reads += 1
        count = self.counts[queue]
        if isinstance(count, LumbreError):
            raise count
        return count

    def glimpses(self) -> Mapping[str, int]:
        if self.seen is not None:
            return self.seen
        return {q: count for q, count in self.counts.items() if isinstance(count, int)}

    def asleep(self, queue: str) -> bool:
        return queue not in self.awake
