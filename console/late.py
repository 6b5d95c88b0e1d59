"""The console of a gateway, imported behind its start, since its pages take some 200 ms of it.

A gateway is ready without it.  Whoever asks for a page before it is there has it imported at once.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Scope

from console.sources import Sources
from runtime.errors import LumbreError

if TYPE_CHECKING:
    from console.app import Console


class LateConsole:
    """Stands where a console will be; `start` begins to import it, in a thread."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._console: Console | None = None
        self._coming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Import it while nobody waits."""
        self._coming = asyncio.create_task(self._come(), name="console")

    async def close(self) -> None:
        """End what runs on the side."""
        if self._coming:
            self._coming.cancel()
            with suppress(asyncio.CancelledError):
                await self._coming
        if self._console:
            await self._console.close()

    def takes(self, scope: Scope) -> ASGIApp | None:
        """Who answers this request there; None where the API does."""
        if self._console is None and not _may_be_for_pages(scope):
            return None
        return self._there().takes(scope)

    def refuse(self, error: LumbreError) -> ASGIApp:
        """What tells a browser why it may not have what it asks for."""
        return self._there().refuse(error)

    async def _come(self) -> None:
        await asyncio.to_thread(_import)
        self._there()

    def _there(self) -> "Console":
        if self._console is None:
            from console.sections import console_of

            self._console = console_of(self._sources)
        return self._console


def _import() -> None:
    """Import what a console is made of, and read its templates."""
    from console.render import environment
    from console.sections import console_of as console_of

    environment()


def _may_be_for_pages(scope: Scope) -> bool:
    """Whether a browser may have sent it: programs say neither that they show HTML nor forms."""
    headers = dict(scope["headers"])
    shown = b"text/html" in headers.get(b"accept", b"") or b"hx-request" in headers
    path: str = scope["path"]
    return shown or path.startswith(("/static/", "/console")) or path.endswith(".json")
