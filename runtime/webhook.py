"""POST what is signed to a callback's URL, and to no place it was not meant for.

A name is resolved where the connection is made, its addresses are judged there, and one of those
very addresses is connected to: there is no second look-up whose answer could differ (DNS
rebinding).  The Host header, SNI and the certificate check go by the name.  Nothing is taken from
an answer but its status, when to come again, and a little text for the record: redirects are never
followed, proxies and credentials of the environment never used, bodies never decompressed.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import Any

import httpcore
import httpx

from runtime.destination import Address, Allowed, Destination, check_url
from runtime.errors import InvalidInput
from runtime.model import JSON
from runtime.signature import sign

CONNECT = 5.0  # seconds for name, connection and, once more, TLS
TOTAL = 15.0  # seconds for all of it; the least that Standard Webhooks recommends
BODY = 2.0  # seconds for the body of an answer, of these
MAX_BODY = 64 * 1024  # bytes of an answer that are read
MAX_TOLD = 300  # characters of an answer that are kept
MAX_ADDRESSES = 4  # of one name that are tried
MOST_AT_ONCE = 32  # connections
KEPT = 5.0  # seconds an idle connection is kept for the next POST

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one POST."""

    delivered: bool
    status_code: int | None = None  # None where no answer came
    error: str | None = None  # why it was not delivered
    final: bool = False  # trying again is of no use
    retry_after: float | None = None  # seconds the receiver asks for


class Webhook:
    """Sends signed POSTs to allowed hosts; close it."""

    def __init__(
        self,
        allowed: Allowed,
        secrets: Sequence[bytes],
        *,
        resolve: Resolve | None = None,
        context: ssl.SSLContext | None = None,  # None: public authorities, or SSL_CERT_FILE's
        connect: float = CONNECT,
        total: float = TOTAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._allowed = allowed
        self._secrets = secrets
        self._connect = connect
        self._total = total
        self._clock = clock
        self._resolver = _Resolver()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context() if context is None else context,
            max_connections=MOST_AT_ONCE,
            max_keepalive_connections=MOST_AT_ONCE,
            keepalive_expiry=KEPT,
            network_backend=_Checked(allowed, resolve or self._resolver.resolve),
        )
        self._agent = f"Lumbre/{_release()}"

    async def close(self) -> None:
        """Close every connection, also those that wait for an answer."""
        await self._pool.aclose()
        self._resolver.close()

    async def post(self, url: str, id: str, body: bytes) -> Answer:
        """POST a JSON body, signed under `id`; never raises for what the other side does."""
        try:
            destination = check_url(url, self._allowed)
        except InvalidInput as error:  # it was allowed when it was accepted
            return Answer(False, error=f"the URL {error.errors[0][1]}", final=True)
        try:
            async with asyncio.timeout(self._total):
                return await self._post(destination, id, body)
        except TimeoutError:
            return Answer(False, error=f"no answer within {self._total:g} s")
        except _Inward as error:
            return Answer(False, error=str(error), final=True)
        except _FAULTS as error:
            return Answer(False, error=_fault(error, destination, self._connect))

    async def _post(self, destination: Destination, id: str, body: bytes) -> Answer:
        headers: list[tuple[bytes | str, bytes | str]] = [
            ("Host", destination.authority),
            ("User-Agent", self._agent),
            ("Content-Type", JSON),
            ("Accept", "*/*"),
            *sign(self._secrets, id, self._clock(), body).items(),
        ]
        url = httpcore.URL(
            scheme=destination.scheme.encode(),
            host=destination.host.encode(),
            port=destination.port,
            target=destination.target.encode(),
        )
        timeout = {"connect": self._connect, "read": self._total, "write": self._total}
        async with self._pool.stream(
            "POST", url, headers=headers, content=body, extensions={"timeout": timeout}
        ) as response:
            text = await _beginning(response)
        return _answer(response, text, self._clock())


def _answer(response: httpcore.Response, text: str, now: float) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(True, status)
    if 300 <= status < 400:
        error = f"it answered {status}, and redirects are not followed: give the URL it leads to"
        return Answer(False, status, error)
    if status == 410:
        return Answer(False, status, "it answered 410: it wants no more of these", final=True)
    error = f"it answered {status}: {text}" if text else f"it answered {status}"
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    after = _seconds(headers.get(b"retry-after", ""), now) if status in (429, 503) else None
    return Answer(False, status, error, retry_after=after)


async def _beginning(response: httpcore.Response) -> str:
    """The first characters of a body, as they can be shown; it is read to its end if that is near.

    A connection whose answer was read to its end can be used again.  An answer that takes its time
    here, has no end or breaks off has told its status all the same.
    """
    data, size = b"", 0
    body = response.aiter_stream()
    assert isinstance(body, AsyncGenerator)  # httpcore says less of it than it is
    try:
        async with asyncio.timeout(BODY), contextlib.aclosing(body):
            async for chunk in body:
                data += chunk[: 4 * MAX_TOLD - len(data)]
                size += len(chunk)
                if size > MAX_BODY:
                    break
    except _FAULTS as error:
        log.debug("status=%d: the body broke off: %s", response.status, error)
    return _shown(data.decode("utf-8", "replace"))


def _shown(text: str) -> str:
    """Text of unknown origin as one line that a terminal can print."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_TOLD]


def _seconds(retry_after: str, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 §10.2.3); None where it says nothing."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _fault(error: Exception, destination: Destination, connect: float) -> str:
    """Why no answer came.  Never says an address: a name's may be nobody's business."""
    cause = _cause(error)
    if isinstance(error, httpcore.ConnectTimeout):
        return f"no connection to {destination.authority} within {connect:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {destination.host} is not valid: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS with {destination.authority}: {cause.reason or 'it was broken off'}"
    if isinstance(cause, socket.gaierror):
        return f"the name {destination.host} cannot be resolved: {cause.strerror}"
    if isinstance(cause, OSError) and cause.errno:
        return f"no connection to {destination.authority}: {os.strerror(cause.errno)}"
    return _shown(f"no answer from {destination.authority}: {error or type(error).__name__}")


def _cause(error: BaseException) -> BaseException:
    """The first of an error's causes that the operating system or TLS has a name for."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and (found.errno or isinstance(found, ssl.SSLError)):
            return found
        found = found.__cause__ or found.__context__
    return error


# httpcore's errors have no common root; TLS's and the resolver's are OSErrors.
_FAULTS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)


class _Inward(Exception):
    """A name leads to where callbacks may not go."""


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to what a name was resolved to, if every address of it may be connected to."""

    def __init__(self, allowed: Allowed, resolve: Resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout) as limit:
                addresses = await self._addresses(host, port)
                return await self._connect(addresses[:MAX_ADDRESSES], port, limit.when())
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection to {host}:{port}") from error

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a host, in the resolver's order; _Inward if one may not be reached.

        One is enough: which of them an attacker's name server wants us to take, it decides.
        """
        try:
            addresses: Sequence[Address] = [ip_address(host)]
        except ValueError:
            addresses = await self._resolve(host, port)
        for address in addresses:
            if not self._allowed.permits(host, port, address):
                log.warning("host=%s address=%s: callbacks may not go there", host, address)
                raise _Inward(
                    f"{host} leads to an address that is not public: whoever runs this Lumbre may"
                    f" allow that with {host}=private in LUMBRE_CALLBACK_HOSTS"
                )
        return addresses

    async def _connect(
        self, addresses: Sequence[Address], port: int, deadline: float | None
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one, each given its share of the time."""
        loop = asyncio.get_running_loop()
        failed: Exception = httpcore.ConnectError("the name has no address")
        for number, address in enumerate(addresses):
            left = None if deadline is None else deadline - loop.time()
            share = None if left is None else left / (len(addresses) - number)
            try:
                return _Closing(await self._backend.connect_tcp(str(address), port, timeout=share))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


class _Closing(httpcore.AsyncNetworkStream):
    """A connection that does not stay behind when it is given up in the middle of TLS's handshake.

    httpcore closes it for a timeout of its own, and not where the task is cancelled.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Resolver:
    """Asks the system's resolver, on threads of its own.

    The loop's are few, and wanted for blobs: a dead name server would have them all.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="resolver")

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Every address of a name; OSError where there is none."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return [*dict.fromkeys(ip_address(socket_address[0]) for *_, socket_address in found)]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    return [*socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)]


def _release() -> str:
    try:
        return version("lumbre")
    except PackageNotFoundError:  # run from a checkout
        return "0"
