"""RabbitMQ's management API, for what AMQP does not tell: how much of a queue is leased."""

import logging
import time
from urllib.parse import quote

import httpx

from runtime.brokers.rabbitmq.address import Address
from runtime.brokers.rabbitmq.topology import dead_queue
from runtime.model import Depth

FRESH = 1.0  # seconds an answer is good for
TIMEOUT = 5.0  # seconds
PAUSE = 10.0  # seconds it is left alone after it failed

log = logging.getLogger(__name__)


def management_client(url: httpx.URL, address: Address, timeout: float) -> httpx.AsyncClient:
    """A client of the management API of a broker: what the broker may prove itself by, it may.

    Raises ConfigurationError that names a file of certificates that cannot be used.
    """
    shown = url.copy_with(username=None, password=None)
    return httpx.AsyncClient(
        base_url=f"{shown}".rstrip("/"),
        auth=address.login(url.username, url.password),
        verify=address.tls.context() if address.tls and url.scheme == "https" else True,
        timeout=timeout,
    )


class Management:
    """Depths from the management API, with the AMQP user's credentials unless the URL has some.

    Credentials that were given apart (LUMBRE_BROKER_USERNAME) replace those of the URL as well.
    The server counts every few seconds (`collect_statistics_interval`), so they are a bit old.
    """

    def __init__(self, url: str, address: Address) -> None:
        self._url = httpx.URL(url)
        self._shown = self._url.copy_with(username=None, password=None)
        self._client = management_client(self._url, address, TIMEOUT)
        self._vhost = quote(address.vhost, safe="")
        self._depths: dict[str, tuple[float, Depth]] = {}
        self._failing = False
        self._again = 0.0  # monotonic; not asked before

    async def depth(self, queue: str) -> Depth | None:
        """How full a queue is; None where it cannot be told, KeyError for no such queue."""
        now = time.monotonic()
        at, depth = self._depths.get(queue, (0.0, None))
        if depth is not None and now - at < FRESH:
            return depth
        if now < self._again:
            return None
        try:
            row = await self._ask(queue)
            dead = await self._ask(dead_queue(queue))
        except (httpx.HTTPError, ValueError) as error:
            self._failed(error)
            return None
        self._failing = False
        if row is None:
            raise KeyError(queue)
        if "messages_ready" not in row:  # it is too new, or statistics are off
            return None
        depth = Depth(
            ready=int(row.get("messages_ready", 0)),
            unacknowledged=int(row.get("messages_unacknowledged", 0)),
            dead=int(dead.get("messages", 0)) if dead else 0,
        )
        self._depths[queue] = (now, depth)
        return depth

    async def leased(self) -> dict[str, int] | None:
        """How many messages of each queue are leased; None where that cannot be told."""
        try:
            answer = await self._client.get(
                f"/api/queues/{self._vhost}", params={"columns": "name,messages_unacknowledged"}
            )
            answer.raise_for_status()
            rows = answer.json()
            told = {row["name"]: row.get("messages_unacknowledged") for row in rows}
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._failed(error)
            return None
        counts = {name: int(count) for name, count in told.items() if count is not None}
        return counts or None  # none: its statistics are off

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, queue: str) -> dict[str, int] | None:
        answer = await self._client.get(f"/api/queues/{self._vhost}/{quote(queue, safe='')}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        row = answer.json()
        if not isinstance(row, dict):
            raise ValueError("its answer is no JSON object")
        return row

    def _failed(self, error: Exception) -> None:
        self._again = time.monotonic() + PAUSE
        if not self._failing:
            log.warning(
                "management=%s cannot be asked (%s): what is leased is known for this process only",
                self._shown,
                _reason(error),
            )
        self._failing = True


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return str(error) or type(error).__name__
