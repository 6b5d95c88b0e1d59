"""What a browser posts from a form with files: its texts, and its files where they were spooled.

Files go to the disk as they come, so that an upload is never in memory as a whole.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from console.form import FILE
from runtime.errors import BadRequest, TooLarge

MULTIPART = "multipart/form-data"
TEXT_LIMIT = 4 * 2**20  # bytes one text may have; whoever has more sends JSON
DRAINED = 4  # times the limit: so much more is read of what is too large, so that it is told


@dataclass(frozen=True, slots=True)
class Posted:
    """Texts by the names of their inputs (the last of each), and files by parameter."""

    typed: dict[str, str]
    files: dict[str, UploadFile]


@asynccontextmanager
async def posted(request: Request, limit: int) -> AsyncIterator[Posted]:
    """What a form has sent, of at most `limit` bytes; its files are there until the end.

    TooLarge and BadRequest for what cannot be taken.
    """
    stream = _bounded(request, limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == MULTIPART:
            form = await MultiPartParser(request.headers, stream, max_part_size=TEXT_LIMIT).parse()
        else:
            form = await FormParser(request.headers, stream).parse()
    except (MultiPartException, KeyError) as error:
        detail = getattr(error, "message", "the boundary is missing")
        raise BadRequest(f"the form cannot be read: {detail}") from None
    except ClientDisconnect:
        raise BadRequest("the connection closed before the whole form came") from None
    try:
        typed, files = {}, {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                typed[name] = value
            elif value.filename:  # a file input where nothing was chosen has no name
                files[name.removeprefix(FILE)] = value
        yield Posted(typed, files)
    finally:
        await form.close()


async def _bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body; where it is too large, it is read on without being kept, and then refused.

    A browser that is answered in the middle of what it sends shows no answer.
    """
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit * (1 + DRAINED):
            break
        if size <= limit:
            yield chunk
    if size > limit:
        raise TooLarge(
            f"the form has {size:,} bytes or more, the limit is {limit:,}: send less, or raise"
            " LUMBRE_MAX_BODY"
        )
