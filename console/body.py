"""The parameters and files of a form as a request that the API takes.

Whoever has no file sends JSON.  Files go as multipart/form-data, piece by piece as they are read,
and the parameters beside them in the query string, where a text may have any length.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.datastructures import UploadFile

from runtime.blobs import Blobs
from runtime.errors import NotFound
from runtime.function import FunctionSpec
from runtime.intake import Receive
from runtime.model import INLINE_LIMIT, JSON, Part
from runtime.query import Headers

UNSAID = ("", "application/octet-stream")  # media types of browsers that do not know a file's

Chunks = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class File:
    """Bytes for a parameter, from wherever they are."""

    name: str
    media_type: str
    chunks: Chunks


@dataclass(frozen=True, slots=True)
class Body:
    """Headers, query string and body, as `Admission.accept` takes them; to be read once."""

    headers: Headers
    query: bytes
    receive: Receive


def uploaded(name: str, file: UploadFile, declared: str) -> File:
    """A file of a form; `declared` is the parameter's media type, where the browser knew none."""
    given = file.content_type or ""
    media_type = declared if given in UNSAID else given

    async def chunks() -> AsyncGenerator[bytes, None]:
        while chunk := await file.read(INLINE_LIMIT):
            yield chunk

    return File(name, media_type, chunks)


def stored(part: Part, blobs: Blobs) -> File:
    """An upload of an earlier invocation; NotFound when it is read and no longer there."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        if part.data is not None or part.key is None:
            yield part.data or b""
            return
        found = blobs.chunks(part.key)
        try:
            while chunk := await asyncio.to_thread(next, found, b""):
                yield chunk
        except FileNotFoundError:
            raise NotFound(
                f"what was uploaded as {part.name} is no longer there: choose the file anew"
            ) from None

    return File(part.name, part.media_type, chunks)


def body_of(spec: FunctionSpec, parameters: Mapping[str, Any], files: list[File]) -> Body:
    """The request that has these parameters and files."""
    headers: Headers = {}
    if not files:
        headers[b"content-type"] = JSON.encode()
        return Body(headers, b"", _receiving(_whole(orjson.dumps(parameters))))
    boundary = secrets.token_hex(16)
    headers[b"content-type"] = f"multipart/form-data; boundary={boundary}".encode()
    texts = [(name, as_text(spec, name, value)) for name, value in parameters.items()]
    return Body(headers, urlencode(texts).encode(), _receiving(_multipart(boundary, files)))


def as_text(spec: FunctionSpec, name: str, value: Any) -> str:
    """A parameter as the API reads it where all is text: a text parameter as it is, else JSON."""
    schema = spec.input_schema["properties"].get(name, {})
    if isinstance(value, str) and schema.get("type") == "string":
        return value
    return orjson.dumps(value).decode()


async def _whole(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


async def _multipart(boundary: str, files: list[File]) -> AsyncGenerator[bytes, None]:
    for file in files:
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{file.name}";'
            f' filename="{file.name}"\r\nContent-Type: {file.media_type}\r\n\r\n'
        )
        yield head.encode()
        async for chunk in file.chunks():
            yield chunk
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _receiving(chunks: AsyncGenerator[bytes, None]) -> Receive:
    async def receive() -> MutableMapping[str, Any]:
        chunk = await anext(chunks, None)
        more = chunk is not None
        return {"type": "http.request", "body": chunk or b"", "more_body": more}

    return receive
