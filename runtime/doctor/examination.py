"""Carrying out checks: all at once, each within its time, and no error of one ends another."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from runtime.errors import LumbreError
from runtime.finding import Finding, problem
from runtime.settings import without_password

DEADLINE = 5.0  # seconds
THREADS = "doctor"  # how their names begin
CANCELLING = 0.5  # seconds that what is too late may take to leave off


@dataclass(frozen=True, slots=True)
class Check:
    """One look at one part."""

    subject: str
    where: str  # what is looked at, to be named when no answer comes
    work: Callable[[], Awaitable[Sequence[Finding]]]
    deadline: float = DEADLINE  # seconds


class Examination:
    """Runs checks on a loop of its own; `findings` gives what they found, in their order.

    A check that is late may leave a thread behind which nothing can end; then `stuck` is true in
    the end, and whoever exits should not wait for it.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks
        self.stuck = False

    def findings(self) -> Iterator[Finding]:
        """What each check found, as soon as it and those before it are done."""
        loop = asyncio.new_event_loop()
        executor = ThreadPoolExecutor(thread_name_prefix=THREADS)
        loop.set_default_executor(executor)
        try:
            tasks = [loop.create_task(self._carry_out(check)) for check in self._checks]
            for task in tasks:
                yield from loop.run_until_complete(task)
            loop.run_until_complete(_end_others())
        finally:
            executor.shutdown(wait=False)
            self.stuck = not _over()
            loop.close()

    async def _carry_out(self, check: Check) -> Sequence[Finding]:
        task = asyncio.ensure_future(check.work())
        done, _ = await asyncio.wait([task], timeout=check.deadline)
        if not done:
            task.cancel()
            await asyncio.wait([task], timeout=CANCELLING)
            text = f"no answer within {check.deadline:g} s: {check.where}"
            return [problem(check.subject, text, "is it up, and does the network reach it?")]
        return self._result(check, task)

    def _result(self, check: Check, task: "asyncio.Future[Sequence[Finding]]") -> Sequence[Finding]:
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, LumbreError):
            return [problem(check.subject, f"{error}")]
        # Whatever a library may raise: its last words, and no trace.
        said = without_password(f"{type(error).__name__}: {error}".splitlines()[0])
        return [problem(check.subject, f"{check.where}: {said}")]


def _over() -> bool:
    """Whether all threads have ended, or do so soon."""
    until = time.monotonic() + CANCELLING
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return False
    return True


async def _end_others() -> None:
    """End what checks have left running."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CANCELLING)
