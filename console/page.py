"""What a page of the console is: a URL, what it shows, and the template that shows it.

One view has three answers: a browser gets the whole page, htmx gets the block it asks for, and
`.json` behind the path gives the view itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from starlette.requests import Request
from starlette.responses import Response

View = dict[str, Any]  # what JSON can say; templates show it
Show = Callable[[Request], Awaitable[View]]
Act = Callable[[Request], Awaitable["Response | Again"]]
Scope = Literal["read", "invoke", "admin"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page, under a path as Starlette writes it.

    `section` is the item of the navigation it belongs to.  Where the API has the same URL (`twin`),
    programs and `.json` get the API's answer.  What is `shared` looks the same to everybody who
    asks the same URL, so a refresh is made once a second for all of them.
    """

    path: str
    template: str
    section: str
    show: Show
    twin: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What a form of a page does: POST, answered by 303 to where its result is.

    It needs a key of this `scope` where keys are on, and `counts` towards the key's rate where it
    makes an invocation.
    """

    path: str
    act: Act
    scope: Scope = "invoke"
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Download:
    """What is no page under a path of a section's own, such as a file; whoever may read gets it."""

    path: str
    send: Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Again:
    """The page whose form was sent, once more: what it asks for cannot be done as it stands."""

    page: Page
    view: View
    status: int


class Section(Protocol):
    """A part of the console: some pages, and what can be done on them."""

    @property
    def pages(self) -> list[Page]: ...
    @property
    def actions(self) -> list[Action]: ...


@runtime_checkable
class Sending(Protocol):
    """A section that has files to send."""

    @property
    def downloads(self) -> list[Download]: ...


@runtime_checkable
class Closing(Protocol):
    """A section that has something to end before its process does."""

    async def close(self) -> None: ...
