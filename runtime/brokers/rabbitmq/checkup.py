"""A look at a RabbitMQ from outside: can we get in, and does it do what we need of it.

What is made for it has a name of its own and is gone afterwards; should we die in between, the
server removes the queue after a minute.
"""

import asyncio
import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx

from runtime.brokers.rabbitmq.address import Address
from runtime.brokers.rabbitmq.channel import Channel
from runtime.brokers.rabbitmq.link import Link
from runtime.brokers.rabbitmq.management import management_client
from runtime.brokers.rabbitmq.topology import SAFE, Queue
from runtime.brokers.rabbitmq.trouble import ChannelClosed, refused_declaration
from runtime.errors import ConfigurationError, LumbreError, Unavailable
from runtime.finding import Finding, ok, problem, warning

BROKER, MANAGEMENT = "broker", "management"
CONNECT = 3.0  # seconds to get through to a host
ANSWER = 1.5  # seconds for a confirm
FAREWELL = 0.3  # seconds for closing; a server that is blocked reads nothing of it
EXPIRES = 60_000  # milliseconds
TRIES = 3  # of a question that the server fails to answer, as while a queue is being deleted

ADDRESS = "correct LUMBRE_MANAGEMENT_URL: http://HOST:15672"
BLOCKED = (
    "free memory or disk on the server (rabbitmqctl status tells the alarm), or raise"
    " vm_memory_high_watermark or disk_free_limit in rabbitmq.conf"
)


async def examine_server(address: Address) -> list[Finding]:
    """Log in to every host, and try on the first what Lumbre does with queues."""
    links = [_link(replace(address, hosts=(host,))) for host in address.hosts]
    try:
        reached = await asyncio.gather(*map(_reach, links))
        up = [link for link in links if link.up]
        found = [each if up else _severe(each) for each in reached]
        if up:
            found += await _try_queues(up[0])
        return found
    finally:
        closing = [asyncio.create_task(link.close()) for link in links]
        await asyncio.wait(closing, timeout=FAREWELL)


async def examine_management(url: str, address: Address) -> list[Finding]:
    """Ask the management API what it has to say of its server and its vhost."""
    parsed = httpx.URL(url)
    shown = parsed.copy_with(username=None, password=None)
    user, _ = address.login(parsed.username, parsed.password)
    base = f"{shown}".rstrip("/")
    try:
        async with management_client(parsed, address, CONNECT) as client:
            return [await _overview(client, base, user, address)]
    except httpx.UnsupportedProtocol:
        return [problem(MANAGEMENT, f"{base!r} is no URL", ADDRESS)]
    except httpx.TransportError as error:
        text = f"{base} does not answer ({f'{error}'.lower() or type(error).__name__})"
        advice = "rabbitmq-plugins enable rabbitmq_management, or correct LUMBRE_MANAGEMENT_URL"
        if "certificate verify failed" in text:
            advice = "write its authority's certificates into a file, and LUMBRE_BROKER_CA=FILE"
        return [problem(MANAGEMENT, text, advice)]


# ── the server ────────────────────────────────────────────────────────────────────────────────


def _link(address: Address) -> Link:
    async def nothing() -> None:
        """There is nothing to restore on a connection."""

    quick = replace(address, connection_timeout=min(CONNECT, address.connection_timeout))
    return Link(quick, "doctor", on_up=nothing, on_change=lambda: None)


async def _reach(link: Link) -> Finding:
    try:
        await link.open(0)
    except Unavailable as error:
        return warning(BROKER, f"{link.address}: {error}", "start it, or correct LUMBRE_BROKER_URL")
    except ConfigurationError as error:
        return warning(BROKER, f"{error}")
    cluster = f", cluster {link.server.cluster}" if link.server and link.server.cluster else ""
    return ok(BROKER, f"{link.address}: {link.server}{cluster}")


def _severe(found: Finding) -> Finding:
    """The same, where no other host is there."""
    return problem(found.subject, found.text, found.advice)


async def _try_queues(link: Link) -> list[Finding]:
    """What a role does: declare, publish, receive."""
    name = f"lumbre.doctor.{secrets.token_hex(4)}"
    quorum = Queue(
        name,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-expires": EXPIRES,
            "x-dead-letter-exchange": "",
            **SAFE,
        },
    )
    stream = Queue(f"{name}.stream", {"x-queue-type": "stream", "x-max-age": "60s"})
    try:
        channel = await link.channel()
        await channel.declare([stream], link.address)
        await _delete(channel, stream.name)
        await channel.declare([quorum], link.address)
        if not await _pass_through(channel, name):
            return [_stuck(link)]
        await _delete(channel, name)
    except LumbreError as error:
        return [problem(BROKER, f"{error}")]
    except ChannelClosed as error:
        refused = refused_declaration(error, name, link.address)
        said = isinstance(refused, LumbreError)
        return [problem(BROKER, f"{refused}" if said else f"{link.address}: {error}")]
    return [ok(BROKER, "quorum queues and streams can be declared, written and read there")]


async def _pass_through(channel: Channel, queue: str) -> bool:
    """Whether a message that is put into a queue comes out of it; ChannelClosed if refused."""
    confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(error: ChannelClosed | None) -> None:
        if confirmed.done():
            return
        if error:
            confirmed.set_exception(error)
        else:
            confirmed.set_result(None)

    channel.on_closed = settle
    confirm = channel.raw.confirm_delivery
    await channel.call(lambda done: confirm(lambda _: settle(None), callback=done))
    channel.raw.basic_publish("", queue, b"doctor")
    try:
        await asyncio.wait_for(confirmed, ANSWER)
    except TimeoutError:
        return False

    def get(done: Any) -> None:
        channel.raw.basic_get(queue, lambda *given: done(given[-1]), auto_ack=True)

    return bool(await channel.call(get) == b"doctor")


async def _delete(channel: Channel, queue: str) -> None:
    await channel.call(lambda done: channel.raw.queue_delete(queue, callback=done))


def _stuck(link: Link) -> Finding:
    if link.blocked is not None:
        text = f"{link.address} takes no messages: {link.blocked or 'an alarm'}"
        return problem(BROKER, text, BLOCKED)
    text = f"{link.address} does not confirm a message within {ANSWER:g} s"
    return problem(BROKER, text, "rabbitmq-diagnostics check_local_alarms, and see its log")


# ── the management API ────────────────────────────────────────────────────────────────────────


async def _overview(client: httpx.AsyncClient, base: str, user: str, address: Address) -> Finding:
    answer = await client.get("/api/overview")
    if answer.status_code in (401, 403):
        tag = f"rabbitmqctl set_user_tags {user} monitoring"
        text = f"{base} refused user {user!r} (HTTP {answer.status_code})"
        return problem(MANAGEMENT, text, f"correct its password, or let it in: {tag}")
    told = _object(answer)
    if answer.status_code != 200 or "rabbitmq_version" not in told:
        text = f"what answers at {base} is no management API (HTTP {answer.status_code})"
        return problem(MANAGEMENT, text, ADDRESS)
    if told.get("disable_stats"):
        text = f"{base} has its statistics off: what workers have in hand is not told"
        return warning(MANAGEMENT, text, "set management_agent.disable_metrics_collector = false")
    status = await _queues_status(client, address)
    if status != 200:
        text = f"{base} tells user {user!r} nothing of vhost {address.vhost!r} (HTTP {status})"
        return problem(MANAGEMENT, text, "is it the server of LUMBRE_BROKER_URL, and is it there?")
    return ok(MANAGEMENT, f"{base}: RabbitMQ {told['rabbitmq_version']}, with statistics")


async def _queues_status(client: httpx.AsyncClient, address: Address) -> int:
    for _ in range(TRIES):
        path = f"/api/queues/{quote(address.vhost, safe='')}"
        status = (await client.get(path, params={"columns": "name"})).status_code
        if status < 500:
            break
    return status


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
