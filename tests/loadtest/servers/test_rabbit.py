"""A private RabbitMQ node: its vhosts and users, and what is done to it."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pika  # type: ignore[import-untyped]
import pytest

from loadtest.servers import Missing, QueueRow, RabbitServer, ServerError, rabbit
from tests.support import eventually

QUORUM = {"x-queue-type": "quorum"}


@contextmanager
def connected(url: str, **more: Any) -> Iterator[Any]:
    parameters = pika.URLParameters(url)
    for name, value in more.items():
        setattr(parameters, name, value)
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


def publish(url: str, queue: str, body: bytes) -> None:
    """Publish durably, and return once it is confirmed."""
    with connected(url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True, arguments=QUORUM)
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))


def listening(pid: int) -> list[tuple[str, int]]:
    """Addresses, in hexadecimal as the kernel shows them, and ports that a process listens on."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the server closed it while they were listed
            sockets.add(str(link.readlink()))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].partition(":")
                found.append((address, int(port, 16)))
    return found


# --- addresses, vhosts and users


def test_a_test_has_a_vhost_of_its_own(rabbit: RabbitServer, rabbit_url: str) -> None:
    publish(rabbit_url, "mine", b"here")
    vhost = rabbit_url.rpartition("/")[2]
    eventually(lambda: rabbit.queues(vhost) == [QueueRow("mine", 1, 0, 0, "quorum")])
    assert rabbit.queues() == []


def test_everything_listens_on_loopback_alone(rabbit: RabbitServer) -> None:
    found = listening(rabbit.pid)
    assert {address for address, _ in found} == {"0100007F"}
    assert {rabbit.port, rabbit.management_port} < {port for _, port in found}


def test_an_address_is_encoded(rabbit: RabbitServer) -> None:
    rabbit.add_vhost("a/b")
    rabbit.add_user("ü:@", "p@s/s:", vhost="a/b")
    url = rabbit.url("ü:@", "p@s/s:", "a/b")
    assert url.isascii()
    publish(url, "mine", b"here")
    rabbit.remove_vhost("a/b")


def test_a_user_has_nothing_to_say_in_another_vhost(rabbit: RabbitServer, rabbit_url: str) -> None:
    rabbit.add_user("visitor", "secret")
    vhost = rabbit_url.rpartition("/")[2]
    with (
        pytest.raises(pika.exceptions.AMQPConnectionError),
        connected(rabbit.url("visitor", "secret", vhost)),
    ):
        pass


def test_the_management_plugin_answers(rabbit: RabbitServer) -> None:
    with urlopen(f"{rabbit.management_url}/") as page:
        assert b"RabbitMQ" in page.read()


def test_what_the_server_refuses_is_told(rabbit: RabbitServer) -> None:
    with pytest.raises(ServerError, match="rabbitmqctl ended with"):
        rabbit.ctl("delete_vhost", "nowhere")
    with pytest.raises(ServerError, match="404"):
        rabbit.remove_vhost("nowhere")


def test_vhosts_and_users_can_be_had_without_the_management_plugin(
    breakable_rabbit: RabbitServer,
) -> None:
    breakable_rabbit.add_vhost("a/b")
    breakable_rabbit.add_user("visitor", "secret", vhost="a/b")
    publish(breakable_rabbit.url("visitor", "secret", "a/b"), "mine", b"here")
    breakable_rabbit.remove_vhost("a/b")


# --- what is done to it


def processes(server: RabbitServer) -> set[str]:
    """What runs with a node's environment, by name."""
    home = f"HOME={server.folder}".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if home in (process / "environ").read_bytes().split(b"\0"):
                found.add((process / "comm").read_text().strip())
        except OSError:  # it has just ended
            continue
    return found


def test_what_was_confirmed_survives_and_processes_do_not(breakable_rabbit: RabbitServer) -> None:
    url = breakable_rabbit.url()
    publish(url, "kept", b"1")
    (names,) = breakable_rabbit.folder.glob("data/*/quorum/*/names.dets")
    eventually(lambda: b"kept" in names.read_bytes())
    assert {"beam.smp", "epmd"} <= processes(breakable_rabbit)
    breakable_rabbit.kill()
    assert processes(breakable_rabbit) == set()
    with pytest.raises(pika.exceptions.AMQPConnectionError), connected(url):
        pass
    breakable_rabbit.start()
    publish(url, "kept", b"2")
    with breakable_rabbit.paused():
        breakable_rabbit.stop()
    assert processes(breakable_rabbit) == set()
    breakable_rabbit.start()
    with connected(url) as connection:
        channel = connection.channel()
        bodies = [channel.basic_get("kept", auto_ack=True)[2] for _ in range(2)]
    assert bodies == [b"1", b"2"]


def test_connections_can_be_closed_from_the_server_s_side(breakable_rabbit: RabbitServer) -> None:
    with connected(breakable_rabbit.url()) as connection:
        breakable_rabbit.close_connections("enough for today")
        with pytest.raises(
            pika.exceptions.ConnectionClosedByBroker, match="enough for today"
        ) as caught:
            connection.process_data_events(10)
    assert caught.value.reply_code == 320


def test_a_memory_alarm_blocks_who_publishes_until_it_is_over(
    breakable_rabbit: RabbitServer,
) -> None:
    told: list[str] = []
    with connected(breakable_rabbit.url()) as connection:
        connection.add_on_connection_blocked_callback(lambda *_: told.append("blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
        channel = connection.channel()
        breakable_rabbit.set_memory_alarm(True)
        channel.basic_publish("", "nowhere", b"")
        eventually(lambda: connection.process_data_events(0) or told == ["blocked"])
        breakable_rabbit.set_memory_alarm(False)
        eventually(lambda: connection.process_data_events(0) or told == ["blocked", "unblocked"])


def test_a_paused_node_keeps_its_sockets_and_answers_when_it_goes_on(
    breakable_rabbit: RabbitServer,
) -> None:
    with breakable_rabbit.paused():
        client = socket.create_connection(("127.0.0.1", breakable_rabbit.port), 5)
        client.sendall(b"AMQP\x00\x00\x09\x01")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
    client.settimeout(30)
    assert client.recv(1) == b"\x01"  # the first frame: connection.start
    client.close()


def test_a_delivery_that_is_held_too_long_costs_its_channel(breakable_rabbit: RabbitServer) -> None:
    breakable_rabbit.set_consumer_timeout(0.5)
    publish(breakable_rabbit.url(), "held", b"")
    with connected(breakable_rabbit.url()) as connection:
        channel = connection.channel()
        channel.basic_consume("held", lambda *_: None)
        eventually(lambda: connection.process_data_events(0.1) or channel.is_closed, within=30)
        assert connection.is_open


def test_it_is_started_once(breakable_rabbit: RabbitServer) -> None:
    with pytest.raises(ServerError, match="runs already"):
        breakable_rabbit.start()


# --- starting


def test_a_setting_that_rabbitmq_refuses_is_told(tmp_path: Path) -> None:
    server = RabbitServer(tmp_path / "r", plugins=(), config={"no.such.setting": "1"})
    with pytest.raises(ServerError, match=r"no\.such\.setting"):
        server.start()
    server.stop()


def test_a_machine_without_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rabbit, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="apt-get install rabbitmq-server"):
        RabbitServer(tmp_path)


# --- TLS


def test_tls_connections_are_taken_and_no_others(tls_rabbit: RabbitServer) -> None:
    certificates = tls_rabbit.certificates
    assert certificates
    assert tls_rabbit.url().startswith("amqps://")
    context = ssl.create_default_context(cafile=certificates.authority)
    context.load_cert_chain(certificates.client, certificates.client_key)
    options = pika.SSLOptions(context, "127.0.0.1")
    with connected(tls_rabbit.url(), ssl_options=options) as connection:
        assert connection.is_open
    strange = pika.SSLOptions(ssl.create_default_context(cafile=certificates.stranger), "127.0.0.1")
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        connected(tls_rabbit.url(), ssl_options=strange),
    ):
        pass
    with (
        pytest.raises(pika.exceptions.AMQPConnectionError),
        connected(tls_rabbit.url().replace("amqps", "amqp")),
    ):
        pass
