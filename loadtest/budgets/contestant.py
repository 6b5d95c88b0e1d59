"""Who takes part in a comparison: servers that are up at once, and are loaded in turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.budgets.closed import Load, Measured, measure
from loadtest.budgets.cpu import descendants, spent_by
from loadtest.budgets.pace import Pace
from loadtest.budgets.server import BenchmarkError, Server, until

ANSWER_LIMIT = 60.0  # seconds until a server that was just started must answer as it should

Processes = Callable[[], Sequence[int]]  # pids, as of the call


@dataclass(frozen=True, slots=True)
class Task:
    """What all are asked to do: the same input, and the one right answer."""

    name: str
    body: str
    answer: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One server under load, for one round."""

    measured: Measured
    cpu: dict[str, float]  # seconds for each request, by the processes that spent them


@dataclass(slots=True)
class Contestant:
    """One of the servers, and all that works for it."""

    name: str
    server: Server
    paths: Mapping[str, str]  # by the name of the task
    processes: Mapping[str, Processes]  # whose CPU time is told
    answered: int = field(default=0)  # right answers it gave so far

    def expect(self, task: Task) -> None:
        """Return once it gives the right answer; BenchmarkError where it takes too long."""
        said = [b""]

        def right() -> bool:
            answer = self.server.ask("POST", self.paths[task.name], task.body)
            said[0] = answer.body
            good = answer.status == 200 and answer.body == task.answer.encode()
            self.answered += good
            return good

        try:
            until(f"{self.name} does {task.name}", right, ANSWER_LIMIT, 0.1)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}; it says {said[0][:500]!r}") from None

    def load(self, task: Task, connections: int, seconds: float) -> Turn:
        """Load it with one task over so many connections."""
        pids = {name: list(find()) for name, find in self.processes.items()}
        before = spent_by(pids)
        url = self.server.url(self.paths[task.name])
        load = Load(url, connections, seconds, body=task.body, answer=task.answer)
        measured = measure(load)
        after = spent_by(pids)
        self.answered += measured.answered
        requests = max(1, measured.answered + measured.errors)
        return Turn(measured, {name: (after[name] - before[name]) / requests for name in pids})


Round = dict[str, Turn]  # by the name of the contestant


def in_turn(
    contestants: Sequence[Contestant], task: Task, connections: int, pace: Pace
) -> list[Round]:
    """Load all alternately, round after round, after a warm-up of each."""
    for contestant in contestants:
        contestant.load(task, connections, pace.warm_up)
    return [
        {each.name: each.load(task, connections, pace.seconds) for each in contestants}
        for _ in range(pace.rounds)
    ]


def only(pid: int) -> Processes:
    return lambda: [pid]


def below(pid: int) -> Processes:
    """What a process has started."""
    return lambda: descendants(pid)


def tree(pid: int) -> Processes:
    return lambda: [pid, *descendants(pid)]
