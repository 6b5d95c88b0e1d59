"""Asking a deployment under fire, as a caller should: again when refused, elsewhere when lost."""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from loadtest.chaos.order import digest
from loadtest.chaos.receipt import Receipts, Told

ANSWER_LIMIT = 90.0  # seconds without an answer, and the caller takes it for lost
GIVE_UP = 300.0  # seconds of refusals, and it will never be taken
AGAIN = (429, 503)  # refusals that say: try again
LAST_PAUSE = 2.0  # seconds, whatever Retry-After says
POOLS = 16  # of connections: httpx looks at every one of a pool for each request


@dataclass(frozen=True, slots=True)
class Request:
    """What to send, to whichever gateway."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Asker:
    """Sends requests to all gateways in turn, and notes what is refused and lost."""

    def __init__(self, urls: Sequence[str], receipts: Receipts) -> None:
        self._urls = itertools.cycle(urls)
        self._receipts = receipts
        timeout = httpx.Timeout(ANSWER_LIMIT, connect=5)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
        self._pools = [_pool(timeout) for _ in range(POOLS)]
        self._turns = itertools.cycle(self._pools)

    async def close(self) -> None:
        for pool in self._pools:
            await pool.aclose()

    async def insist(self, request: Request) -> httpx.Response | None:
        """The first answer that does not say: try again; None if that takes too long.

        A request whose answer is lost is sent again: it names itself, or may be done twice.
        """
        deadline, pause = time.monotonic() + GIVE_UP, 0.05
        while time.monotonic() < deadline:
            answer = await self._send(request)
            if answer is not None:
                return answer
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LAST_PAUSE)
        what = f"{request.method} {request.path}"
        self._receipts.problems.append(f"{what} was refused for {GIVE_UP:.0f} s")
        return None

    async def _send(self, request: Request) -> httpx.Response | None:
        """An answer; None where it was refused for now, or lost with its connection."""
        url = next(self._urls) + request.path
        try:
            answer = await next(self._turns).request(
                request.method, url, headers=request.headers, content=request.body
            )
        except httpx.TransportError as error:
            self._receipts.refusals[type(error).__name__] += 1
            if isinstance(error, httpx.ReadTimeout):
                what = f"{request.method} {request.path} {request.headers}"
                self._receipts.problems.append(f"{what}: no answer in {ANSWER_LIMIT:g} s")
            return None
        except AttributeError:  # what anyio raises of a connection that is cut as it opens
            self._receipts.refusals["ConnectError"] += 1
            return None
        if answer.status_code in AGAIN or was_refused(answer):
            self._receipts.refusals[f"{answer.status_code}"] += 1
            return None
        return answer


def _pool(timeout: httpx.Timeout) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)


def outcome(answer: httpx.Response) -> Told | None:
    """How an invocation ended, from an answer about it; None where it says something else."""
    if "invocation-attempt" not in answer.headers:
        return None
    attempt = int(answer.headers["invocation-attempt"])
    if answer.status_code != 200:
        return Told(str(answer.json()["type"]).rpartition(":")[2], attempt, None)
    is_json = answer.headers.get("content-type") == "application/json"
    return Told("succeeded", attempt, digest(answer.json() if is_json else answer.content))


def was_refused(answer: httpx.Response) -> bool:
    """Whether a call was cancelled because the broker did not take it: it is to be sent again."""
    return (
        answer.status_code == 409
        and "json" in answer.headers.get("content-type", "")
        and answer.json().get("error", {}).get("type") == "BrokerAway"
    )
