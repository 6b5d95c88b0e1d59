"""Getting in, and what is said where that fails."""

import asyncio
import contextlib
import logging
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from loadtest.servers import RabbitServer
from runtime.brokers import QueueSpec
from runtime.brokers.rabbitmq import Address, RabbitBroker
from runtime.brokers.rabbitmq.link import LONGEST_WAIT, SHORTEST_WAIT, backoff
from runtime.errors import ConfigurationError, Unavailable
from tests.conftest import running
from tests.runtime.brokers.rabbitmq.rig import QUEUE, rabbit_broker
from tests.support import until

NASTY = "p@ss/w:rd?#%&+ \N{GREEK SMALL LETTER LAMDA}'\""


async def refused(url: str, patience: float = 0) -> str:
    """What is said to somebody who cannot get in, ever."""
    broker = rabbit_broker(url)
    with pytest.raises(ConfigurationError) as raised:
        await broker.open(patience)
    await broker.close()
    return str(raised.value)


@given(tries=st.integers(0, 10_000))
def test_the_wait_between_two_tries_is_never_none_and_never_long(tries: int) -> None:
    assert SHORTEST_WAIT <= backoff(tries) <= LONGEST_WAIT


def test_waits_grow_and_differ() -> None:
    early, late = ([backoff(tries) for _ in range(200)] for tries in (0, 20))
    assert max(early) <= 0.1 < max(late)
    assert len(set(late)) > 190


async def test_a_broker_opens_and_says_what_it_found(rabbit_url: str) -> None:
    broker = rabbit_broker(rabbit_url)
    states: list[bool] = []
    broker.on_state = lambda: states.append(broker.connected)
    assert not broker.connected
    await broker.open(0)
    assert broker.connected
    assert broker.server.product == "RabbitMQ"
    assert broker.server.version >= (3, 10)
    await broker.close()
    assert not broker.connected
    assert states == [True, False]


async def test_the_management_ui_shows_its_name(rabbit: RabbitServer, rabbit_url: str) -> None:
    name = f"worker-{uuid4().hex}"
    broker = rabbit_broker(rabbit_url, name)
    await broker.open(0)
    told = await asyncio.to_thread(rabbit.ctl, "list_connections", "client_properties")
    assert name in told
    await broker.close()


async def test_a_wrong_password_names_user_and_host_and_not_itself(rabbit: RabbitServer) -> None:
    said = await refused(rabbit.url(password="open-sesame"), patience=60)
    assert "'guest'" in said and f"127.0.0.1:{rabbit.port}" in said
    assert "open-sesame" not in said


async def test_a_vhost_that_does_not_exist_is_named(rabbit: RabbitServer) -> None:
    assert "no vhost 'nowhere'" in await refused(rabbit.url(vhost="nowhere"), patience=60)


async def test_a_vhost_that_is_not_for_this_user_is_named(
    rabbit: RabbitServer, rabbit_url: str
) -> None:
    user = f"user-{uuid4().hex[:8]}"
    rabbit.add_user(user, "x")
    vhost = Address.parse(rabbit_url).vhost
    said = await refused(rabbit.url(user=user, password="x", vhost=vhost))
    assert f"{user!r} may not use vhost {vhost!r}" in said
    assert "set_permissions" in said


async def test_credentials_and_vhosts_may_have_any_characters(rabbit: RabbitServer) -> None:
    vhost, user = f"{NASTY}{uuid4().hex[:8]}", f"{NASTY}{uuid4().hex[:8]}"
    rabbit.add_vhost(vhost)
    try:
        rabbit.add_user(user, NASTY, vhost)
        broker = rabbit_broker(rabbit.url(user, NASTY, vhost))
        await broker.open(0)
        assert broker.connected
        await broker.close()
    finally:
        rabbit.remove_vhost(vhost)


async def test_a_user_who_may_not_declare_is_told_so(rabbit: RabbitServer, rabbit_url: str) -> None:
    user = f"reader-{uuid4().hex[:8]}"
    rabbit.add_user(user, "x")
    vhost = Address.parse(rabbit_url).vhost
    await asyncio.to_thread(rabbit.ctl, "set_permissions", "--vhost", vhost, user, "^$", ".*", ".*")
    said = await refused(rabbit.url(user, "x", vhost), patience=60)
    assert f"user {user!r} may not declare lumbre.dead" in said


async def test_a_queue_of_other_arguments_is_named_with_what_to_do(rabbit_url: str) -> None:
    first, second = rabbit_broker(rabbit_url), rabbit_broker(rabbit_url)
    await first.open(0)
    await first.declare([QueueSpec(QUEUE, delivery_limit=5)])
    await second.open(0)
    with pytest.raises(ConfigurationError) as raised:
        await second.declare([QueueSpec(QUEUE, delivery_limit=500)])
    said = str(raised.value)
    assert "queue f.cpu" in said and "x-delivery-limit = 30" in said and "1000" in said
    assert "delete it" in said
    for broker in (first, second):
        await broker.close()


async def test_a_server_that_is_away_is_tried_once_where_there_is_no_patience() -> None:
    broker = rabbit_broker("amqp://user:open-sesame@127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1: connection refused") as raised:
        await broker.open(0)
    assert "open-sesame" not in str(raised.value)
    await broker.close()


async def test_a_server_that_is_away_is_waited_for_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = rabbit_broker("amqp://user:open-sesame@127.0.0.1:1")
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable):
        await broker.open(1.0)
    said = [record.getMessage() for record in caplog.records if "away" in record.getMessage()]
    assert len(said) == 1 and "connection refused" in said[0]
    assert "open-sesame" not in caplog.text
    await broker.close()


async def test_it_connects_once_the_server_is_there(rabbit: RabbitServer, rabbit_url: str) -> None:
    """Through a port where nobody listens at first."""
    holder = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = holder.sockets[0].getsockname()[1]
    holder.close()
    await holder.wait_closed()
    broker = rabbit_broker(rabbit_url.replace(f":{rabbit.port}/", f":{port}/"))
    opening = asyncio.create_task(broker.open(float("inf")))
    async with asyncio.timeout(20):
        relay = await asyncio.start_server(Relay(rabbit.port).serve, "127.0.0.1", port)
        await opening
    assert broker.connected
    await broker.close()
    relay.close()


async def test_another_host_is_taken_where_one_is_away(
    rabbit: RabbitServer, rabbit_url: str
) -> None:
    both = rabbit_url.replace(f"127.0.0.1:{rabbit.port}", f"127.0.0.1:1,127.0.0.1:{rabbit.port}")
    for _ in range(4):  # they are tried in any order
        broker = rabbit_broker(both)
        await broker.open(0)
        assert broker.connected
        await broker.close()


async def test_a_port_where_nobody_answers_is_not_waited_for_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.brokers.rabbitmq.link.HANDSHAKE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        broker = rabbit_broker(f"amqp://127.0.0.1:{port}?connection_timeout=0.2")
        with pytest.raises(Unavailable, match="no answer in time"):
            await broker.open(0)
        await broker.close()


class Relay:
    """Bytes from here to a server and back."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self._port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, downstream), pump(upstream, writer))


# --- TLS


@pytest.fixture(scope="module")
def tls_rabbit() -> Iterator[RabbitServer]:
    """A RabbitMQ that speaks TLS only, and wants certificates of its clients."""

    def make(folder: Path) -> RabbitServer:
        config = {"ssl_options.fail_if_no_peer_cert": "true"}
        return RabbitServer(folder, plugins=(), config=config, tls=True)

    with running(make) as server:
        yield server


async def test_tls_with_ones_own_ca_and_certificate(tls_rabbit: RabbitServer) -> None:
    files = tls_rabbit.certificates
    assert files
    address = Address.parse(tls_rabbit.url(), files.authority, files.client, files.client_key)
    broker = RabbitBroker(address, name="test")
    await broker.open(0)
    assert broker.connected
    await broker.close()


async def test_a_client_without_a_certificate_is_told_that_one_is_wanted(
    tls_rabbit: RabbitServer,
) -> None:
    assert tls_rabbit.certificates
    ca = tls_rabbit.certificates.authority
    said = await refused(f"{tls_rabbit.url()}?cacertfile={ca}", patience=60)
    assert "client certificate" in said


async def test_a_server_of_an_unknown_authority_is_not_trusted(tls_rabbit: RabbitServer) -> None:
    assert tls_rabbit.certificates
    ca = tls_rabbit.certificates.stranger
    said = await refused(f"{tls_rabbit.url()}?cacertfile={ca}", patience=60)
    assert "not trusted" in said


async def test_tls_to_a_port_without_it_says_so(rabbit: RabbitServer) -> None:
    said = await refused(rabbit.url().replace("amqp://", "amqps://"), patience=60)
    assert "no TLS is spoken there" in said


async def test_no_tls_to_a_port_with_it_is_hinted_at(tls_rabbit: RabbitServer) -> None:
    broker = rabbit_broker(tls_rabbit.url().replace("amqps://", "amqp://"))
    with pytest.raises(Unavailable, match="amqps:// is for ports with TLS"):
        await broker.open(0)
    await broker.close()


class Cutter:
    """Passes one connection on to RabbitMQ, and cuts it as a machine that crashes does."""

    HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._ends: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()
        for end in chain.from_iterable(self._ends):
            end.close()

    def cut(self) -> None:
        """Say one thing more, and reset the connection in the same moment."""
        near, far = self._ends[-1]
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near.sendall(self.HEARTBEAT)
        near.close()
        far.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._behind))
                self._ends.append((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, to: socket.socket) -> None:
        """Until one is closed; never waiting inside of `recv`, which would hold it open."""
        with contextlib.suppress(OSError, ValueError):
            while True:
                if select.select([source], [], [], 0.01)[0]:
                    to.sendall(source.recv(65_536))


def test_a_connection_that_is_reset_as_it_says_something_is_made_again_at_once(
    rabbit: RabbitServer, rabbit_url: str
) -> None:
    """On uvloop, which tells of a reset once only: whoever reads what came before misses it."""
    cutter = Cutter(rabbit.port)
    broker = rabbit_broker(rabbit_url.replace(f":{rabbit.port}/", f":{cutter.port}/"))

    async def main() -> None:
        states: list[bool] = []
        broker.on_state = lambda: states.append(broker.connected)
        await broker.open(10)
        cutter.cut()
        time.sleep(0.2)  # so that both are there when the loop looks: what is said, and the reset
        await until(lambda: states == [True, False, True], within=10)
        await broker.close()

    uvloop.run(main())
    cutter.close()
