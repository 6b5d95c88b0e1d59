"""Watches the node while the load runs: backlog and replicas, decisions, the audit.

It asks over connections of its own, about once a second, and never fails: where a server cannot be
asked, that is one of the notes.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import orjson

from loadtest.outcome import Decided, Facts, Observed

EVERY = 1.0  # seconds between two looks
PATIENCE = 3.0  # seconds for one answer
AUDIT_PATIENCE = 30.0  # an audit counts every row
MOST_DECISIONS = 1000  # that a node tells at once


class Unobserved(Exception):
    """The server did not tell what it was asked; says why."""


class Observer:
    """Asks one node.  Use it as an asynchronous context, which closes its connections."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None, key: str | None = None) -> None:
        self.observed: list[Observed] = []
        self.notes: list[str] = []
        self.functions: frozenset[str] | None = None  # that a node has; None of what is no node
        self._url = url
        headers = {"Authorization": f"Bearer {key}"} if key else None
        self._client = httpx.AsyncClient(
            base_url=url, timeout=PATIENCE, verify=tls or False, headers=headers
        )
        self._missed = 0
        self._is_node = False

    async def __aenter__(self) -> "Observer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def node(self) -> Facts:
        """Facts of the node; where it is none, only where the server is, and a note."""
        facts = [("url", self._url)]
        try:
            root = await self._get("/")
            if root.get("name") != "lumbre":
                raise Unobserved("GET / does not say that it is one of Lumbre's")
            items = _items(await self._get("/functions"))
            told = described(items, await self._version())
        except Unobserved as why:
            self.notes.append(f"the node was not observed: {why}")
            return facts
        self._is_node = True
        self.functions = frozenset(str(item["name"]) for item in items)
        return [*facts, *told]

    async def watch(self, began: float) -> None:
        """Look every second until cancelled; `began` is on the clock of `time.monotonic`."""
        while self._is_node:
            try:
                items = _items(await self._get("/functions"))
                self.observed += seen(items, time.monotonic() - began)
            except Unobserved:
                self._missed += 1
            elapsed = time.monotonic() - began
            await asyncio.sleep(EVERY - elapsed % EVERY)

    async def decided(self, began_at: float, seconds: float) -> tuple[Decided, ...]:
        """The autoscaler's decisions within the load, oldest first; `began_at` is Unix time."""
        if not self._is_node:
            return ()
        try:
            items = _items(await self._get(f"/decisions?limit={MOST_DECISIONS}"))
            found = [decision(item, began_at) for item in items]
        except Unobserved as why:
            self.notes.append(f"the autoscaler's decisions are not known: {why}")
            return ()
        inside = [each for each in found if 0 <= each.at <= seconds]
        if len(items) == MOST_DECISIONS and len(inside) == MOST_DECISIONS:
            self.notes.append(f"only the latest {MOST_DECISIONS:,} decisions are known")
        return tuple(sorted(inside, key=lambda each: each.at))

    async def audit(self, patience: float = AUDIT_PATIENCE) -> dict[str, Any] | None:
        """GET /audit; None where it could not be asked, and a note."""
        if not self._is_node:
            return None
        try:
            return await self._get("/audit", patience)
        except Unobserved as why:
            self.notes.append(f"the audit could not be asked: {why}")
            return None

    def conclude(self) -> tuple[str, ...]:
        """What a reader must know about what was observed."""
        if self._missed:
            looks = "1 look" if self._missed == 1 else f"{self._missed:,} looks"
            self.notes.append(f"{looks} at the node's backlog and replicas got no answer")
        return tuple(self.notes)

    async def _version(self) -> str:
        value = await self._get("/openapi.json")
        return str(value.get("info", {}).get("version", "unknown"))

    async def _get(self, path: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The JSON object at a path; Unobserved where there is none."""
        try:
            answer = await self._client.get(path, timeout=patience)
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise Unobserved(f"GET {path} was not answered ({what})") from error
        if answer.status_code != 200:
            raise Unobserved(f"GET {path} was answered {answer.status_code}")
        try:
            value = orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise Unobserved(f"GET {path} was not answered with JSON") from error
        if not isinstance(value, dict):
            raise Unobserved(f"GET {path} was not answered with a JSON object")
        return value


def described(functions: Iterable[dict[str, Any]], version: str) -> Facts:
    """What is told of a node: its version, and its functions with their devices."""
    with _shaped("/functions"):
        whole = [item for item in functions if not item.get("error")]
        devices = sorted({device for item in whole for device in item["devices"]})
        names = [f"{item['name']} ({', '.join(item['devices'])})" for item in whole]
    facts = [("version", version), ("functions", ", ".join(names) or "none")]
    return [*facts, ("devices", ", ".join(devices) or "none")]


def seen(items: Iterable[dict[str, Any]], at: float) -> list[Observed]:
    """Queues and replicas of every function on every device, from the items of GET /functions."""
    with _shaped("/functions"):
        return [
            _queue(item["name"], device, backlog, item["replicas"].get(device, {}), at)
            for item in items
            for device, backlog in item["backlog"].items()
        ]


def _queue(
    function: str, device: str, backlog: dict[str, int], replicas: dict[str, int], at: float
) -> Observed:
    return Observed(
        at=at,
        function=function,
        device=device,
        ready=backlog["ready"],
        unacknowledged=backlog["unacknowledged"],
        dead=backlog["dead"],
        starting=replicas.get("starting", 0),
        idle=replicas.get("ready", 0),
        busy=replicas.get("busy", 0),
        draining=replicas.get("draining", 0),
    )


def decision(item: dict[str, Any], began_at: float) -> Decided:
    """One item of GET /decisions."""
    with _shaped("/decisions"):
        return Decided(
            at=datetime.fromisoformat(item["at"]).timestamp() - began_at,
            function=item["function"],
            device=item["device"],
            before=item["before"],
            after=item["after"],
            backlog=float(item["backlog"]),
            reason=item["reason"],
        )


@contextmanager
def _shaped(path: str) -> Iterator[None]:
    """Unobserved where an answer is not of the shape that this version knows."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unobserved(f"GET {path} was answered in a shape that is not known") from error


def _items(value: dict[str, Any]) -> list[dict[str, Any]]:
    items = value.get("items")
    if not isinstance(items, list):
        raise Unobserved("its answer has no items")
    return items
