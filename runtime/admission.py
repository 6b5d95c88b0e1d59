"""From a request to an accepted invocation: which function, which device, which input."""

import asyncio
import difflib
import time
from collections.abc import Awaitable

from runtime.blobs import Blobs
from runtime.catalog import Catalog
from runtime.destination import Allowed, check_url
from runtime.errors import Conflict, InvalidInput, LumbreError, NotFound, Unavailable
from runtime.fleet import Fleet
from runtime.function import FunctionSpec
from runtime.intake import Intake, Receive, Validator, fingerprint
from runtime.invocations import Invocations
from runtime.model import Device, Invocation, Message, Part, Payload, new_id
from runtime.query import Headers, trace_of

CATALOG_WAIT = 60.0  # seconds a request waits for functions to be described at the first start


class Admission:
    """Reads what is asked for, and puts it into its queue."""

    def __init__(
        self,
        fleet: Fleet,
        catalog: Catalog,
        invocations: Invocations,
        blobs: Blobs,
        max_body: int,
        callback_hosts: str = "",
    ) -> None:
        self.described = asyncio.Event()  # the catalog is loaded and its queues are declared
        self._given_up = False  # it never will be
        self._fleet = fleet
        self._catalog = catalog
        self._invocations = invocations
        self._blobs = blobs
        self._intake = Intake(blobs, max_body)
        self._allowed = Allowed.parse(callback_hosts)
        self._validators: dict[str, Validator] = {}

    async def accept(
        self,
        spec: FunctionSpec,
        id: str,
        asked: str,
        headers: Headers,
        query: bytes,
        receive: Receive,
        key: str | None,
        *,
        once: bool,
    ) -> Invocation:
        """Read the input and put an invocation into its queue, once if it is to be created once."""
        device = self._device(spec, asked)
        validator = self._validator(spec)
        callback = self._callback(headers) if b"lumbre-callback" in headers else None
        payload = await _storing(self._intake.read(validator, id, headers, query, receive))
        message = Message(id, spec.name, device, payload, time.time(), 1, 0, trace_of(id, headers))
        invocation = Invocation(message, asked, spec.version, callback=callback)
        if b"text/event-stream" not in headers.get(b"accept", b""):
            return await self._submit(invocation, headers, key, once=once)
        await self._invocations.listen(id)
        try:
            return await self._submit(invocation, headers, key, once=once)
        except BaseException:
            await self._invocations.unlisten(id)
            raise

    def _callback(self, headers: Headers) -> str:
        url = headers[b"lumbre-callback"].decode("latin-1")
        check_url(url, self._allowed)
        return url

    async def _submit(
        self, invocation: Invocation, headers: Headers, key: str | None, *, once: bool
    ) -> Invocation:
        background = b"respond-async" in headers.get(b"prefer", b"")
        if not once:
            # What has more to it than a message says must have its row first.
            linked = invocation.callback is not None or invocation.replayed_from is not None
            durable = background or linked
            try:
                await self._invocations.submit(invocation, durable=durable, awaited=not background)
            except LumbreError:
                await self._forget_blobs(invocation)
                raise
            return invocation
        await self._key(invocation, key)
        try:
            accepted = await self._invocations.submit_once(invocation, awaited=not background)
        except LumbreError as error:
            if not (isinstance(error, Conflict) and key is None):  # else the blobs are the other's
                await self._forget_blobs(invocation)
            raise
        if accepted is not invocation and accepted.id != invocation.id:
            await self._forget_blobs(invocation)
        return accepted

    async def _forget_blobs(self, invocation: Invocation) -> None:
        payload = invocation.message.payload
        if payload.parts or payload.key:
            await asyncio.to_thread(self._blobs.delete, invocation.id)

    async def replay(
        self, earlier: Invocation, spec: FunctionSpec, asked: str, headers: Headers
    ) -> Invocation:
        """Accept an earlier invocation's input once more, as a new one that is linked to it."""
        device = self._device(spec, asked)
        id = new_id()
        payload = await _storing(self._copied(earlier.message.payload, id))
        message = Message(id, spec.name, device, payload, time.time(), 1, 0, trace_of(id, headers))
        invocation = Invocation(message, asked, spec.version, replayed_from=earlier.id)
        return await self._submit(invocation, headers, None, once=False)

    async def twin(
        self,
        earlier: Invocation,
        spec: FunctionSpec,
        device: Device,
        headers: Headers,
        key: str | None,
    ) -> Invocation:
        """Accept an invocation's input for another device, once where there is a key.

        Its outcome goes to the same callback.
        """
        id = new_id()
        payload = await _storing(self._copied(earlier.message.payload, id))
        message = Message(id, spec.name, device, payload, time.time(), 1, 0, trace_of(id, headers))
        invocation = Invocation(message, device, spec.version, callback=earlier.callback)
        return await self._submit(invocation, headers, key, once=key is not None)

    async def replay_once(
        self,
        earlier: Invocation,
        spec: FunctionSpec,
        asked: str,
        headers: Headers,
        key: str,
        parameters: bytes | None,
    ) -> Invocation:
        """Replay durably under an idempotency key, with other parameters where some are given.

        `parameters` are a JSON object, checked like any input; uploads stay as they were.  Whoever
        asks again with the same key gets the invocation there is.
        """
        device = self._device(spec, asked)
        payload = earlier.message.payload
        if parameters is not None:
            payload = self._intake.edited(self._validator(spec), payload, parameters)
        id = new_id()
        if payload.parts or payload.key:
            payload = await _storing(self._copied(payload, id))
        payload = await _storing(self._intake.outlined(id, payload))
        message = Message(id, spec.name, device, payload, time.time(), 1, 0, trace_of(id, headers))
        invocation = Invocation(message, asked, spec.version, replayed_from=earlier.id)
        return await self._submit_keyed(invocation, headers, key)

    async def _submit_keyed(self, invocation: Invocation, headers: Headers, key: str) -> Invocation:
        """Like `_submit` once, for a key that tells its input: the ledger alone holds it unique."""
        background = b"respond-async" in headers.get(b"prefer", b"")
        await self._key(invocation, key)
        try:
            await self._invocations.submit(invocation, durable=True, awaited=not background)
        except LumbreError as error:
            await self._forget_blobs(invocation)
            known = await self._invocations.by_key(key) if isinstance(error, Conflict) else None
            if known is None:
                raise
            return known
        return invocation

    async def _key(self, invocation: Invocation, key: str | None) -> None:
        message, asked = invocation.message, invocation.requested_device
        invocation.idempotency_key = key
        if message.payload.parts or message.payload.key:  # which may have to be read
            invocation.fingerprint = await asyncio.to_thread(
                fingerprint, message.function, asked, message.payload, self._blobs
            )
        else:
            invocation.fingerprint = fingerprint(
                message.function, asked, message.payload, self._blobs
            )

    async def body(self, headers: Headers, receive: Receive) -> bytes:
        """The JSON that a request carries; empty where it carries nothing."""
        return await self._intake.json_body(headers, receive)

    async def fingerprint(
        self, spec: FunctionSpec, asked: str, headers: Headers, query: bytes, receive: Receive
    ) -> str:
        """What `accept` would make of this request's fingerprint; nothing is kept of its input."""
        read_as = new_id()  # a name of its own, so that it cannot disturb the other's blobs
        validator = self._validator(spec)
        try:
            reading = self._intake.read(validator, read_as, headers, query, receive)
            payload = await _storing(reading)
            return await asyncio.to_thread(fingerprint, spec.name, asked, payload, self._blobs)
        finally:
            await asyncio.to_thread(self._blobs.delete, read_as)

    async def catalog_ready(self) -> None:
        """Wait until it is known which functions there are; Unavailable if that takes too long."""
        if not self.described.is_set():
            try:
                await asyncio.wait_for(self.described.wait(), CATALOG_WAIT)
            except TimeoutError:
                raise Unavailable("the functions are still being described", 5) from None
        if self._given_up:
            raise Unavailable("this node is shutting down: send it again in a moment", 5)

    def give_up(self) -> None:
        """The process ends: whoever still waits for its functions to be described is told so."""
        if not self.described.is_set():
            self._given_up = True
            self.described.set()

    async def function(self, name: str) -> FunctionSpec:
        """A function by name; NotFound, or Unavailable where its file is broken."""
        if self._given_up or not self.described.is_set():
            await self.catalog_ready()
        if spec := self._catalog.functions.get(name):
            return spec
        if broken := self._catalog.broken.get(name):
            error = broken.error
            raise Unavailable(f"{broken.file} is broken: {error.type}: {error.message}", 60)
        name = name[:80]
        near = difflib.get_close_matches(name, self._catalog.functions, 1)
        known = ", ".join(sorted(self._catalog.functions)) or "none yet: see `lumbre new`"
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {known}"
        raise NotFound(f"there is no function {name!r}; {hint}")

    def door(self, spec: FunctionSpec, asked: str) -> tuple[Validator, Device]:
        """What inputs of a function are checked by, and where they are to run; else as `accept`."""
        return self._validator(spec), self._device(spec, asked)

    def _validator(self, spec: FunctionSpec) -> Validator:
        validator = self._validators.get(spec.name)
        if validator is None or validator.spec is not spec:
            validator = self._validators[spec.name] = Validator.of(spec)
        return validator

    def _device(self, spec: FunctionSpec, asked: str) -> Device:
        """The device to run on: the one asked for, or the GPU where there is one."""
        here = self._fleet.devices(spec)
        if asked == "auto":
            if here:
                return "gpu" if "gpu" in here else here[0]
            asked = spec.devices[0]
        elif asked not in ("cpu", "gpu"):
            raise InvalidInput(
                "device",
                f"is {asked!r}: ask for auto, cpu or gpu; compare is of POST /invoke alone",
            )
        for device in here:
            if device == asked:
                return device
        if asked not in spec.devices:
            raise InvalidInput(
                "device", f"is {asked}, but {spec.name} runs on {' and '.join(spec.devices)} only"
            )
        raise Unavailable(self._fleet.lacks(spec, asked), 60)

    async def _copied(self, payload: Payload, id: str) -> Payload:
        return await asyncio.to_thread(self._copy_payload, payload, id)

    def _copy_payload(self, payload: Payload, id: str) -> Payload:
        """The same input under a new invocation, so that each may be removed by itself."""

        def copied(key: str | None, data: bytes | None = None) -> str | None:
            if key is None:
                return None
            to = f"{id}/{key.rpartition('/')[2]}"
            if data is None:
                self._blobs.copy(key, to)
            else:
                self._blobs.write(to, data)
            return to

        try:
            parts = [
                Part(part.name, part.media_type, part.size, None, copied(part.key, part.data))
                for part in payload.parts
            ]
            return Payload(payload.parameters, tuple(parts), copied(payload.key))
        except FileNotFoundError:
            self._blobs.delete(id)
            raise NotFound("what was uploaded for it is no longer there: send it anew") from None


async def _storing(work: Awaitable[Payload]) -> Payload:
    """An input that is being stored; Unavailable where the blob store takes nothing."""
    try:
        return await work
    except OSError as error:
        raise Unavailable(
            f"the input cannot be stored ({error.strerror or error}): make room where"
            " LUMBRE_BLOBS_URL is, and send it again",
            5,
        ) from error
