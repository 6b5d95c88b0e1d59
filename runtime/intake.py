"""From an HTTP request to a function's input.

Parameters come as a JSON object, as multipart/form-data with files for the bytes parameters, or as
a raw body for the first bytes parameter with the others in the query string.  What is bytes goes
to the blob store as it arrives, so that nothing large is held in memory twice.
"""

import asyncio
import difflib
import hashlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any
from urllib.parse import parse_qsl

import jsonschema_rs
import orjson
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from runtime.blobs import Blobs
from runtime.errors import BadRequest, InvalidInput, TooLarge, UnsupportedMediaType
from runtime.function import RESERVED, FunctionSpec
from runtime.model import INLINE_LIMIT, JSON, Part, Payload

MAX_DEPTH = 64  # nested arrays and objects in parameters
MAX_FAULTS = 20  # errors told at once
# Values in a parameter whose faults are looked for one by one, which takes 40 µs for each fault.
MAX_LOOKED_AT = 500
MAX_TOLD = 300  # characters of one: it may quote a value, and the value may be a whole book
MULTIPART = "multipart/form-data"
# What curl and browsers send when nobody said what the body is.
UNSAID = ("", "application/x-www-form-urlencoded")
CUT_SHORT = "the connection closed before the whole body came"
INPUT = ".input"  # the blob name of parameters that are too large to travel inline

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Validator:
    """Checks parameters against a function's schema; bytes parameters are not its business."""

    spec: FunctionSpec
    schema: jsonschema_rs.Draft202012Validator
    parameters: Mapping[str, jsonschema_rs.Draft202012Validator]  # each one's own
    given: Mapping[str, jsonschema_rs.Draft202012Validator]  # its own where it is not null
    required_bytes: frozenset[str]

    @classmethod
    def of(cls, spec: FunctionSpec) -> "Validator":
        schema = dict(spec.input_schema)
        required = schema.get("required", [])
        schema["properties"] = {
            name: value for name, value in schema["properties"].items() if name not in spec.binary
        }
        schema["required"] = [name for name in required if name not in spec.binary]
        compiled = jsonschema_rs.Draft202012Validator(schema)
        shared = {"$defs": schema.get("$defs", {})}
        parameters = {
            name: jsonschema_rs.Draft202012Validator(shared | value)
            for name, value in schema["properties"].items()
        }
        given = {
            name: jsonschema_rs.Draft202012Validator(shared | option)
            for name, value in schema["properties"].items()
            if (option := _only_option(value))
        }
        required_bytes = frozenset(required) & frozenset(spec.binary)
        return cls(spec, compiled, parameters, given, required_bytes)

    def check(self, parameters: dict[str, Any], parts: frozenset[str] = frozenset()) -> None:
        """Raise InvalidInput naming every fault, up to MAX_FAULTS."""
        if self.schema.is_valid(parameters) and self.required_bytes <= parts:
            return
        faults = list(islice(self._faults(parameters, parts), MAX_FAULTS))
        raise InvalidInput(*faults[0], *faults[1:])

    def value(self, name: str, text: str) -> Any:
        """A parameter's value from text: JSON where its schema takes that, else the text itself."""
        schema = self.spec.input_schema["properties"].get(name, {})
        if name not in self.parameters or schema.get("type") == "string":
            return text
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        own = self.parameters[name]
        return text if own.is_valid(text) and not own.is_valid(value) else value

    def _faults(self, given: dict[str, Any], parts: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Pointer and detail of each fault."""
        schema = self.spec.input_schema
        found = False
        for name in sorted(self.required_bytes - parts):
            yield _step(name), f"is missing: upload it, as in curl -F {name}=@FILE"
        for name in schema.get("required", ()):
            if name in self.parameters and name not in given:
                found = True
                yield _step(name), "is missing"
        for name, value in given.items():
            if own := self.parameters.get(name):
                if own.is_valid(value):
                    continue
                for at, detail in self._faults_in(self.given.get(name, own), value):
                    found = True
                    yield _step(name) + at, detail
            elif schema["additionalProperties"] is False:
                found = True
                yield _step(name), self._unexpected(name)
        if not found and not self.schema.is_valid(given):
            yield "", self._unfit()

    def _faults_in(
        self, schema: jsonschema_rs.Draft202012Validator, value: Any
    ) -> Iterator[tuple[str, str]]:
        if _has_more_than(MAX_LOOKED_AT, value):
            yield "", self._unfit()
            return
        for error in schema.iter_errors(value):
            yield "".join(_step(step) for step in error.instance_path), _shortened(error.message)

    def _unfit(self) -> str:
        return f"does not fit its schema: compare it with GET /functions/{self.spec.name}"

    def _unexpected(self, name: str) -> str:
        if name in self.spec.binary:
            return f"takes bytes: upload it, as in curl -F {name}=@FILE"
        if near := difflib.get_close_matches(name[:MAX_TOLD], self.spec.parameters, 1):
            return f"is no parameter of {self.spec.name}: did you mean {near[0]!r}?"
        takes = ", ".join(self.spec.parameters) or "none"
        return f"is no parameter of {self.spec.name}, which takes {takes}"


def _only_option(schema: dict[str, Any]) -> dict[str, Any] | None:
    """What a parameter must be if it is not null, where null is the one alternative."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else None


class Intake:
    """Reads inputs for one gateway."""

    def __init__(self, blobs: Blobs, max_body: int) -> None:
        self._blobs = blobs
        self._max = max_body

    async def read(
        self,
        validator: Validator,
        invocation: str,
        headers: dict[bytes, bytes],
        query: bytes,
        receive: Receive,
    ) -> Payload:
        """Read and check the input; refuses with a LumbreError, and then leaves no blob behind."""
        self._check_length(headers)
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        kind = content_type.partition(";")[0].strip().lower()
        if (kind == JSON or (kind in UNSAID and not validator.spec.binary)) and not query:
            body = await self._read_whole(receive)
            return await self._of_json(validator, invocation, body, {})
        try:
            return await self._read_other(validator, invocation, headers, kind, query, receive)
        except BaseException:
            await asyncio.to_thread(self._blobs.delete, invocation)
            raise

    async def json_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """A body of JSON as it came, or nothing; UnsupportedMediaType for what says it is other."""
        self._check_length(headers)
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if kind not in UNSAID and kind != JSON:
            raise UnsupportedMediaType(f"this takes JSON, not {kind}: send Content-Type: {JSON}")
        return await self._read_whole(receive)

    def edited(self, validator: Validator, payload: Payload, body: bytes) -> Payload:
        """The payload with the JSON object of a body for its parameters, if the schema takes it."""
        validator.check(parse_object(body), frozenset(part.name for part in payload.parts))
        return Payload(body or b"{}", payload.parts)

    async def outlined(self, invocation: str, payload: Payload) -> Payload:
        """The payload with its parameters in the blob store, where they are too long to travel."""
        if payload.parameters is None or len(payload.parameters) <= INLINE_LIMIT:
            return payload
        key = f"{invocation}/{INPUT}"
        await asyncio.to_thread(self._blobs.write, key, payload.parameters)
        return Payload(None, payload.parts, key)

    async def _read_other(
        self,
        validator: Validator,
        invocation: str,
        headers: dict[bytes, bytes],
        kind: str,
        query: bytes,
        receive: Receive,
    ) -> Payload:
        spec = validator.spec
        given = _from_query(validator, query)
        if kind == MULTIPART:
            return await self._of_form(validator, invocation, headers, given, receive)
        if kind == JSON or not spec.binary:
            if kind not in UNSAID and kind != JSON:
                raise UnsupportedMediaType(
                    f"{spec.name} takes a JSON object, not {kind}: send Content-Type: {JSON}"
                )
            body = await self._read_whole(receive)
            return await self._of_json(validator, invocation, body, given)
        name, media_type = next(iter(spec.binary.items()))
        media_type = media_type if kind in UNSAID else kind
        part = await self._spool(invocation, name, media_type, _chunks(receive))
        if part.size == 0 or (kind in UNSAID and _looks_like_json(part.data)):
            return await self._of_json(validator, invocation, part.data or b"", given)
        await self._store_small((part,))
        return self._of_parts(validator, given, (part,))

    async def _of_json(
        self, validator: Validator, invocation: str, body: bytes, given: dict[str, Any]
    ) -> Payload:
        parameters = parse_object(body)
        if given:
            parameters = given | parameters
            body = orjson.dumps(parameters)
        validator.check(parameters)
        return await self.outlined(invocation, Payload(body or b"{}"))

    async def _of_form(
        self,
        validator: Validator,
        invocation: str,
        headers: dict[bytes, bytes],
        given: dict[str, Any],
        receive: Receive,
    ) -> Payload:
        spec = validator.spec
        parser = MultiPartParser(
            Headers(raw=list(headers.items())),
            self._bounded(receive),
            max_part_size=INLINE_LIMIT,
        )
        parts: list[Part] = []
        async with AsyncExitStack() as stack:
            try:
                form = await parser.parse()
            except (MultiPartException, KeyError) as error:
                detail = getattr(error, "message", "the boundary is missing")
                raise BadRequest(f"the multipart body cannot be read: {detail}") from None
            stack.push_async_callback(form.close)
            for name, value in form.multi_items():
                if isinstance(value, str):
                    if name in spec.binary:
                        raise InvalidInput(
                            name, f"takes bytes: send it as a file, as in curl -F {name}=@FILE"
                        )
                    given[name] = validator.value(name, value)
                elif name not in spec.binary:
                    known = ", ".join(spec.binary) or "no file at all"
                    raise InvalidInput(name, f"is no bytes parameter; {spec.name} takes {known}")
                elif name in {part.name for part in parts}:
                    raise InvalidInput(name, "was sent twice: send one file")
                else:
                    media_type = value.content_type or spec.binary[name]
                    chunks = _file_chunks(value)
                    parts.append(await self._spool(invocation, name, media_type, chunks))
        await self._store_small(parts)
        return self._of_parts(validator, given, tuple(parts))

    @staticmethod
    def _of_parts(validator: Validator, given: dict[str, Any], parts: tuple[Part, ...]) -> Payload:
        validator.check(given, frozenset(part.name for part in parts))
        return Payload(orjson.dumps(given), parts)

    async def _spool(
        self, invocation: str, name: str, media_type: str, chunks: AsyncIterator[bytes]
    ) -> Part:
        """Write chunks to the blob store as they come; what turns out small stays in memory."""
        key = f"{invocation}/{name}"
        head = bytearray()
        size = 0
        async with AsyncExitStack() as stack:
            file: IO[bytes] | None = None
            async for chunk in chunks:
                size += len(chunk)
                if size > self._max:
                    raise self._too_large(size)
                head += chunk
                if len(head) > INLINE_LIMIT:
                    if file is None:
                        file = stack.enter_context(self._blobs.writer(key))
                    await asyncio.to_thread(file.write, bytes(head))
                    head.clear()
            if file is not None:
                await asyncio.to_thread(file.write, bytes(head))
        if size > INLINE_LIMIT:
            return Part(name, media_type, size, None, key)
        return Part(name, media_type, size, bytes(head), key)

    async def _store_small(self, parts: Iterable[Part]) -> None:
        """Keep small parts too, so that the invocation can be run again."""
        for part in parts:
            if part.data is not None and part.key:
                await asyncio.to_thread(self._blobs.write, part.key, part.data)

    async def _read_whole(self, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest(CUT_SHORT)
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > self._max:
                raise self._too_large(len(body))
            return body
        chunks, size = [body], len(body)
        async for chunk in _chunks(receive):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max:
                raise self._too_large(size)
        return b"".join(chunks)

    async def _bounded(self, receive: Receive) -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in _chunks(receive):
            size += len(chunk)
            if size > self._max:
                raise self._too_large(size)
            yield chunk

    def _check_length(self, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length")
        if length and length.isdigit() and int(length) > self._max:
            raise self._too_large(int(length))

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the body has {size:,} bytes or more, the limit is {self._max:,}: send less, or raise"
            " LUMBRE_MAX_BODY"
        )


def parse_object(body: bytes, what: str = "the body") -> dict[str, Any]:
    """A JSON object from a body; an empty body is an empty object; BadRequest for anything else."""
    if not body:
        return {}
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f'{what} is no JSON: {error}; send an object such as {{"n": 512}}'
        ) from None
    if not isinstance(parameters, dict):
        raise BadRequest(f'{what} must be a JSON object of parameters, such as {{"n": 512}}')
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(parameters) > MAX_DEPTH:
        raise BadRequest(f"{what} nests deeper than {MAX_DEPTH} arrays and objects")
    return parameters


def fingerprint(function: str, device: str, payload: Payload, blobs: Blobs) -> str:
    """SHA-256 of what is asked for, to tell a repeated request from a different one."""
    digest = hashlib.sha256(f"{function}\n{device}\n".encode())
    digest.update(blobs.read(payload.key) if payload.key else payload.parameters or b"")
    for part in sorted(payload.parts, key=lambda part: part.name):
        digest.update(f"\n{part.name}\n{part.size}\n".encode())
        if part.data is not None:
            digest.update(part.data)
        elif part.key:
            for chunk in blobs.chunks(part.key):
                digest.update(chunk)
    return digest.hexdigest()


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        inner: list[Any] = []
        for item in level:
            inner += item.values() if isinstance(item, dict) else item
        level = [item for item in inner if isinstance(item, dict | list)]
    return deepest


def _has_more_than(limit: int, value: Any) -> bool:
    """Whether there are more than that many values in a value, itself included."""
    waiting = [value]
    count = 0
    while waiting:
        item = waiting.pop()
        count += 1
        if isinstance(item, dict | list):
            if count + len(waiting) + len(item) > limit:
                return True
            waiting += item.values() if isinstance(item, dict) else item
    return count > limit


def _looks_like_json(data: bytes | None) -> bool:
    """Whether a body of no stated type is a JSON object rather than the bytes of a parameter."""
    if data is None or data.lstrip()[:1] != b"{":
        return False
    try:
        return isinstance(orjson.loads(data), dict)
    except orjson.JSONDecodeError:
        return False


def _from_query(validator: Validator, query: bytes) -> dict[str, Any]:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return {name: validator.value(name, text) for name, text in pairs if name not in RESERVED}


def _step(step: str | int) -> str:
    """One step of a JSON pointer (RFC 6901 §3)."""
    return "/" + _shortened(str(step)).replace("~", "~0").replace("/", "~1")


def _shortened(text: str) -> str:
    if len(text) <= MAX_TOLD:
        return text
    half = MAX_TOLD // 2
    return f"{text[:half]} … {text[-half:]}"


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest(CUT_SHORT)
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body"):
            return


async def _file_chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(INLINE_LIMIT):
        yield chunk
