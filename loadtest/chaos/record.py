"""What a deployment has recorded: over HTTP, and as it stands in the ledger's tables."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loadtest.chaos.errors import ChaosError
from loadtest.chaos.order import digest

PAGE = 1000  # records
PATIENCE = 120.0  # seconds without an answer
UNFINISHED = ("queued", "running")
TERMINAL = ("succeeded", "failed", "timed_out", "cancelled", "dead")
COLUMNS = ("id", "function", "status", "attempt", "finished_at", "result")


@dataclass(frozen=True, slots=True)
class Record:
    """One invocation as it is recorded."""

    id: str
    function: str
    status: str
    attempt: int
    finished_at: str | float | None
    result: str | None = None  # the digest of a JSON result, where that is known

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


class Reader:
    """Asks gateways, whichever answers."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._http = httpx.AsyncClient(timeout=60, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, urls: Sequence[str] = ()) -> httpx.Response | None:
        """What the first gateway that answers says, but for 503; None where none does."""
        for url in urls or self._urls:
            try:
                answer = await self._http.get(url + path)
            except httpx.TransportError:
                continue
            if answer.status_code != 503:
                return answer
        return None

    async def json(self, path: str, urls: Sequence[str] = ()) -> Any:
        """The JSON at a path, as soon as a gateway gives it; ChaosError if none does for long."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = await self.get(path, urls)
            if answer is not None and answer.status_code == 200:
                return answer.json()
            if time.monotonic() > deadline:
                said = "nothing" if answer is None else f"{answer.status_code}: {answer.text[:400]}"
                raise ChaosError(f"GET {path} has given {said} for {PATIENCE:.0f} s")
            await asyncio.sleep(0.2)

    async def records(self, since: str) -> list[Record]:
        """Every invocation accepted since an instant, newest first, by pages."""
        found: list[Record] = []
        path: str | None = f"/invocations?limit={PAGE}&since={since}"
        while path:
            page = await self.json(path)
            found += [record_of(view) for view in page["items"]]
            path = page["next"]
        return found


def record_of(view: dict[str, Any]) -> Record:
    """A record from what GET /invocations/{id} shows."""
    return Record(**{name: view[name] for name in COLUMNS if name != "result"})


def rows_of_sqlite(file: Path) -> list[Record]:
    """Every row of a ledger that is a file."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return [_record(row) for row in connection.execute(_SELECT)]


def rows_of_text(lines: str) -> list[Record]:
    """Every row of what SELECT_JSON gave, a row a line."""
    return [_record(json.loads(line)) for line in lines.splitlines() if line]


def _record(row: Sequence[Any]) -> Record:
    id, function, status, attempt, finished_at, result = row
    known = None if result is None else digest(json.loads(result))
    return Record(id, function, status, attempt, finished_at, known)


_SELECT = f"SELECT {', '.join(COLUMNS)} FROM invocations"
SELECT_JSON = f"SELECT json_build_array({', '.join(COLUMNS)}) FROM invocations"
