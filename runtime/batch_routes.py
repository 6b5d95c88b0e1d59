"""Batches over HTTP: sent as lines of JSON or as one object, and told of as either."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Send

from runtime.admission import Admission
from runtime.answers import json_answer
from runtime.batch_results import BatchResults
from runtime.batch_rows import ItemOutcome
from runtime.batches import AT_ONCE, Batches, Item, Order
from runtime.errors import BadRequest, InvalidInput, Unavailable, UnsupportedMediaType
from runtime.http import hang_up
from runtime.intake import CUT_SHORT, UNSAID, Receive, parse_object
from runtime.invocations import Invocations
from runtime.ledger import Batch, Ledger
from runtime.model import JSON
from runtime.ndjson import MEDIA_TYPES, Splitter
from runtime.query import Headers, whole
from runtime.scopes import CHARGE
from runtime.views import MAX_LIMIT, batch_view, list_view, outcome_view

BATCHES = "/batches"
SILENCE = 60.0  # seconds without a byte after which a body is given up
MEMBERS = ("function", "device", "items")  # of a batch that is sent as one object
ORDERS = ("completion", "index")
LARGEST_INDEX = 2**40
FORM = 'send lines of JSON to /batches?function=NAME, or {"function": NAME, "items": [{…}, …]}'


class BatchRoutes:
    """The endpoints of batches."""

    def __init__(
        self, admission: Admission, batches: Batches, invocations: Invocations, ledger: Ledger
    ) -> None:
        self._admission = admission
        self._batches = batches
        self._invocations = invocations
        self._ledger = ledger

    def routes(self) -> list[Route]:
        one = f"{BATCHES}/{{id}}"
        return [
            Route(BATCHES, self.post_batch, methods=["POST"]),
            Route(BATCHES, self.list_batches, methods=["GET"]),
            Route(one, self.get_batch, methods=["GET"]),
            Route(one, self.cancel_batch, methods=["DELETE"]),
            Route(f"{one}/results", self.get_results, methods=["GET"]),
        ]

    # ── sending ───────────────────────────────────────────────────────────────────────────────

    async def post_batch(self, request: Request) -> Response:
        headers: Headers = dict(request.scope["headers"])
        began = time.time()
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if kind in MEDIA_TYPES or (kind in UNSAID and "function" in request.query_params):
            batch = await self._accept_lines(request, headers)
        elif kind == JSON or kind in UNSAID:
            batch = await self._accept_object(request, headers)
        else:
            raise UnsupportedMediaType(f"a batch is no {kind}: {FORM}")
        charge = request.scope.get(CHARGE)
        if charge and batch.created_at >= began:  # one was counted when the request was let in
            charge((batch.total or 1) - 1)
        link = f"{BATCHES}/{batch.id}"
        return json_answer(await self._view(batch), 202, {"Location": link})

    async def _accept_lines(self, request: Request, headers: Headers) -> Batch:
        query = request.query_params
        order = await self._order(query.get("function"), query.get("device", "auto"), headers)
        digest = hashlib.sha256()

        async def items() -> AsyncIterator[Sequence[Item]]:
            splitter = Splitter()
            async for piece in _pieces(request.receive):
                digest.update(piece)
                yield [Item(line.data, f"line {line.number}") for line in splitter.feed(piece)]
            yield [Item(line.data, f"line {line.number}") for line in splitter.end()]

        return await self._batches.accept(order, items(), lambda: _fingerprint(order, digest))

    async def _accept_object(self, request: Request, headers: Headers) -> Batch:
        body = await self._admission.body(headers, request.receive)
        given = parse_object(body)
        for unknown in given.keys() - set(MEMBERS):
            raise InvalidInput(unknown, f"is no member of a batch, which has {', '.join(MEMBERS)}")
        query = request.query_params
        found: object = given.get("items")
        if not isinstance(found, list):
            what = "must be an array" if "items" in given else "is missing"
            raise InvalidInput("items", f"{what}: {FORM}")
        name = given.get("function", query.get("function"))
        order = await self._order(name, given.get("device", query.get("device", "auto")), headers)
        digest = hashlib.sha256(body)

        async def items() -> AsyncIterator[Sequence[Item]]:
            for start in range(0, len(found), AT_ONCE):
                yield [Item(orjson.dumps(item)) for item in found[start : start + AT_ONCE]]

        return await self._batches.accept(order, items(), lambda: _fingerprint(order, digest))

    async def _order(self, function: object, device: object, headers: Headers) -> Order:
        if function is None:
            raise InvalidInput("function", f"is missing: {FORM}")
        if not isinstance(function, str) or not isinstance(device, str):
            wrong = "device" if isinstance(function, str) else "function"
            raise InvalidInput(wrong, "must be a string")
        spec = await self._admission.function(function)
        if uploads := spec.binary.keys() & set(spec.input_schema.get("required", ())):
            raise InvalidInput(
                "function",
                f"{spec.name} wants {', '.join(sorted(uploads))} uploaded, and the items of a batch"
                f" are JSON: call /invoke/{spec.name} for each",
            )
        validator, here = self._admission.door(spec, device)
        key = headers.get(b"idempotency-key")
        return Order(validator, device, here, key.decode("latin-1") if key else None, headers)

    # ── telling ───────────────────────────────────────────────────────────────────────────────

    async def list_batches(self, request: Request) -> Response:
        await self._invocations.recorder.flush()
        query = request.query_params
        limit = whole(query.get("limit", "50"), "limit", 1, MAX_LIMIT)
        found, cursor = await self._ledger.batches(query.get("cursor"), limit)
        views = [batch_view(each) for each in await self._ledger.batch_rows.progress(found)]
        return json_answer(list_view(views, BATCHES, {**query, "cursor": cursor}))

    async def get_batch(self, request: Request) -> Response:
        await self._invocations.recorder.flush()
        return json_answer(await self._view(await self._batch(request)))

    async def cancel_batch(self, request: Request) -> Response:
        batch = await self._batches.cancel(await self._batch(request))
        return json_answer(await self._view(batch))

    async def get_results(self, request: Request) -> Response:
        batch = await self._batch(request)
        query = request.query_params
        wait = whole(query.get("wait", "1"), "wait", 0, 1) == 1
        order = query.get("order", ORDERS[0])
        if order not in ORDERS:
            raise InvalidInput("order", f"is {order!r}: one of {', '.join(ORDERS)}")
        after = query.get("after")
        first = -1 if after is None else whole(after, "after", 0, LARGEST_INDEX)
        if not wait:
            await self._invocations.recorder.flush()
        results = BatchResults(self._ledger, batch.id, lambda: self._invocations.draining)
        tell = results.in_order if order == "index" else results.as_they_end
        return Lines(tell(first, wait=wait), request.scope.get("lumbre.send"))

    async def _batch(self, request: Request) -> Batch:
        return await self._batches.get(request.path_params["id"])

    async def _view(self, batch: Batch) -> dict[str, object]:
        return batch_view(await self._ledger.batch_rows.progress_now(batch, time.time()))


class Lines(StreamingResponse):
    """Outcomes as lines of JSON; where not all can be told, the connection breaks off.

    An orderly end would say that these were all.  There are no blank lines to keep it open, since
    many readers take a line for an outcome.
    """

    def __init__(
        self, outcomes: AsyncIterator[Sequence[ItemOutcome]], connection: Send | None
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        lines = (_lines(some) async for some in outcomes)
        super().__init__(lines, headers=headers, media_type=MEDIA_TYPES[0])
        self._connection = connection

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except Unavailable:
            if self._connection is None or not hang_up(self._connection):
                raise
            await asyncio.Event().wait()  # until we hear that it is closed


def _lines(outcomes: Iterable[ItemOutcome]) -> bytes:
    return b"".join(
        [orjson.dumps(outcome_view(o), option=orjson.OPT_APPEND_NEWLINE) for o in outcomes]
    )


def _fingerprint(order: Order, body: "hashlib._Hash") -> str:
    """What tells a batch from a different one."""
    function = order.validator.spec.name
    return hashlib.sha256(f"{function}\n{order.asked}\n{body.hexdigest()}".encode()).hexdigest()


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    """A body as it comes; BadRequest where it breaks off, or nothing more comes for a while."""
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                message = await receive()
        except TimeoutError:
            text = f"nothing came for {SILENCE:g} s, and the body has no end: send it again"
            raise BadRequest(text) from None
        if message["type"] == "http.disconnect":
            raise BadRequest(CUT_SHORT)
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body"):
            return
