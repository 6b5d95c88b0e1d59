"""What happens to invocations, for those who follow along: events as they come, and output."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

import orjson

from runtime.capture import Capture
from runtime.model import JSON, TERMINAL, Invocation, Status

MAX_EVENTS = 1000  # progress events kept for a follower that comes late
MAX_UNREAD = 10_000  # events kept for a follower that reads slowly

Event = tuple[str, bytes]  # name and JSON
_Queue = asyncio.Queue[tuple[str, bytes, Invocation | None]]

_TERMINAL_NAMES = frozenset(status.value for status in TERMINAL)


@dataclass(slots=True)
class Story:
    """The events of an invocation so far, its output so far, and who listens."""

    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    output: Capture = field(default_factory=Capture)
    followers: list[_Queue] = field(default_factory=list)


class Stories:
    """The stories of invocations that are not over."""

    def __init__(self) -> None:
        self._stories: dict[str, Story] = {}

    def __contains__(self, invocation: str) -> bool:
        return invocation in self._stories

    def __iter__(self) -> Iterator[str]:
        """Those that somebody follows."""
        return (id for id, story in self._stories.items() if story.followers)

    def open(self, invocation: str) -> None:
        """Begin to keep what is told, because somebody is about to follow."""
        self._stories.setdefault(invocation, Story())

    def follow(self, invocation: Invocation) -> AsyncGenerator[Event, None]:
        """Its events so far and as they come, ending with the terminal one.

        None that comes after this call is missed, however late the first is asked for.
        """
        if invocation.terminal:
            return _tell_over(invocation)
        story = self._stories.setdefault(invocation.id, Story())
        queue: _Queue = asyncio.Queue()
        queue.put_nowait(("queued", told(invocation, Status.QUEUED), None))
        if invocation.started_at is not None:
            queue.put_nowait(("running", told(invocation, Status.RUNNING), None))
        for event in story.events:
            queue.put_nowait((*event, None))
        if story.output.written:
            queue.put_nowait(("log", orjson.dumps({"text": story.output.text()}), None))
        story.followers.append(queue)
        return _tell_live(story, queue)

    def output(self, invocation: str) -> str:
        """What a running invocation has written so far."""
        story = self._stories.get(invocation)
        return story.output.text() if story else ""

    def changed(self, invocation: Invocation, status: Status) -> None:
        """It is queued again, or runs now."""
        if invocation.id in self._stories:
            self._tell(self._stories[invocation.id], status.value, told(invocation, status))

    def progressed(self, invocation: str, event: bytes) -> None:
        story = self._stories.setdefault(invocation, Story())
        story.events.append(("progress", event))
        self._tell(story, "progress", event)

    def wrote(self, invocation: str, data: bytes) -> None:
        story = self._stories.setdefault(invocation, Story())
        story.output.add(data)
        if story.followers:
            text = data.decode(errors="replace")
            self._tell(story, "log", orjson.dumps({"text": text}))

    def relay(self, invocation: str, name: str, data: bytes) -> None:
        """Something that a worker elsewhere told of it."""
        if story := self._stories.get(invocation):
            if name == "progress":
                story.events.append((name, data))
            self._tell(story, name, data)

    def over(self, invocation: Invocation) -> Story | None:
        """It is over: whoever follows is told how; its story, if it had one, is forgotten."""
        story = self._stories.pop(invocation.id, None)
        if story:
            for queue in story.followers:
                queue.put_nowait((invocation.status.value, b"", invocation))
        return story

    def forget(self, invocation: str) -> None:
        """Nobody follows it any more, and nothing of it need be kept."""
        if (story := self._stories.get(invocation)) and not story.followers:
            del self._stories[invocation]

    @staticmethod
    def _tell(story: Story, name: str, data: bytes) -> None:
        for queue in story.followers:
            if queue.qsize() >= MAX_UNREAD:
                with contextlib.suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
            queue.put_nowait((name, data, None))


async def _tell_over(invocation: Invocation) -> AsyncGenerator[Event, None]:
    yield "queued", told(invocation, Status.QUEUED)
    if invocation.started_at is not None:
        yield "running", told(invocation, Status.RUNNING)
    yield invocation.status.value, told(invocation, invocation.status)


async def _tell_live(story: Story, queue: _Queue) -> AsyncGenerator[Event, None]:
    try:
        while True:
            name, data, over = await queue.get()
            if over:
                break
            yield name, data
    finally:
        story.followers.remove(queue)
    yield over.status.value, told(over, over.status)


def told(invocation: Invocation, status: Status) -> bytes:
    """The data of a status event; a terminal one carries the result, if it is small JSON."""
    about: dict[str, object] = {
        "id": invocation.id,
        "status": status.value,
        "attempt": invocation.message.attempt,
        "device": invocation.message.device,
    }
    if status is Status.RUNNING:
        about |= {"replica": invocation.replica, "cold": invocation.cold}
    if invocation.terminal and status is invocation.status:
        about["timings"] = invocation.timings
        if error := invocation.error:
            about["error"] = {"type": error.type, "message": error.message} | error.details
        if (result := invocation.result) and result.data and result.media_type == JSON:
            about["result"] = orjson.Fragment(result.data)
    return orjson.dumps(about)
