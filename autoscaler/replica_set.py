"""The replicas of a simulation: which start, wait, run or drain, and how long they did each.

When there are to be fewer, those that start go first, then those that wait, then those that run,
which finish what they have: as a pool here does, and Kubernetes' controller with pods that are not
ready and with the deletion cost that our workers give to busy ones.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from autoscaler.scene import Scene


@dataclass(frozen=True, slots=True)
class ReplicaSeconds:
    """How long replicas were there, and did what, summed over all of them."""

    starting: float
    busy: float  # draining ones too: they finish what they run
    idle: float

    @property
    def total(self) -> float:
        return self.starting + self.busy + self.idle


class ReplicaSet:
    """Replicas by number.  `idle`, `running` and `leaving` are for the loop that serves."""

    def __init__(self, scene: Scene, random: Random) -> None:
        self.wanted = 0
        self.most = 0  # that were there at once
        self.idle: list[int] = []
        self.running: list[tuple[float, int]] = []  # a heap: when each is done with what it runs
        self.leaving: set[int] = set()  # of those that run: they leave when they are done
        self.starting: dict[int, float] = {}  # since when
        self._scene = scene
        self._random = random
        self._due: list[tuple[float, int]] = []  # a heap: when what starts is ready
        self._spawned: dict[int, float] = {}  # of all that are there
        self._place: dict[int, int] = {}  # of all that are there
        self._free: list[int] = []  # places below `_places` that nobody has, a heap
        self._places = 0
        self._pulled: dict[int, float] = {}  # node → when it has the image
        self._numbers = 0
        self._started = 0.0  # seconds spent starting, of those that start no more
        self._there = 0.0  # seconds, of those that are gone

    @property
    def alive(self) -> int:
        return len(self._spawned)

    @property
    def busy(self) -> int:
        return len(self.running) - len(self.leaving)

    @property
    def next_ready(self) -> float | None:
        """When the next one that starts is ready; None where none starts."""
        while self._due and self._due[0][1] not in self.starting:
            heappop(self._due)  # it was let go while it started
        return self._due[0][0] if self._due else None

    def begin(self, ready: int) -> None:
        """Have so many that are ready at the beginning."""
        self.wanted = ready
        for _ in range(ready):
            self.idle.append(self._spawn(0.0))

    def scale(self, now: float, wanted: int) -> None:
        """Have so many, but for those that drain: let some go, or start some."""
        self.wanted = wanted
        excess = len(self.starting) + len(self.idle) + self.busy - wanted
        for _ in range(max(0, excess)):
            if self.starting:
                number, since = self.starting.popitem()
                self._started += now - since
                self._end(number, now)
            elif self.idle:
                self._end(self.idle.pop(), now)
            else:
                number = min(number for _, number in self.running if number not in self.leaving)
                self.leaving.add(number)
        self._fill(now)

    def pop_ready(self, now: float) -> int:
        """One that has started by now; whoever calls gives it work or makes it idle."""
        _, number = heappop(self._due)
        self._started += now - self.starting.pop(number)
        return number

    def leave(self, number: int, now: float) -> None:
        """One that drained is done; what waited for its place starts."""
        self.leaving.remove(number)
        self._end(number, now)
        self._fill(now)

    def seconds(self, now: float, busy: float) -> ReplicaSeconds:
        """How long they were there by now, given how long they ran."""
        there = self._there + sum(now - at for at in self._spawned.values())
        starting = self._started + sum(now - at for at in self.starting.values())
        return ReplicaSeconds(starting, busy, max(0.0, there - starting - busy))

    def _fill(self, now: float) -> None:
        missing = self.wanted - len(self.starting) - len(self.idle) - self.busy
        if self._scene.places is not None:
            missing = min(missing, self._scene.places - self.alive)
        for _ in range(missing):
            number = self._spawn(now)
            self.starting[number] = now
            took = self._wait_for_image(number, now) + self._scene.start.draw(self._random)
            heappush(self._due, (now + took, number))

    def _spawn(self, now: float) -> int:
        self._numbers += 1
        number = self._numbers
        self._spawned[number] = now
        if self._free:
            self._place[number] = heappop(self._free)
        else:
            self._place[number] = self._places
            self._places += 1
        self.most = max(self.most, self.alive)
        return number

    def _wait_for_image(self, number: int, now: float) -> float:
        """Seconds until its node has the image: it is pulled once, for all that start there."""
        if not self._scene.pull:
            return 0.0
        node = self._place[number] // self._scene.per_node
        return max(0.0, self._pulled.setdefault(node, now + self._scene.pull) - now)

    def _end(self, number: int, now: float) -> None:
        self._there += now - self._spawned.pop(number)
        heappush(self._free, self._place.pop(number))
