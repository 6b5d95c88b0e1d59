"""What is POSTed arrives signed where it was meant to, and nowhere else."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from ipaddress import ip_address
from pathlib import Path

import pytest

from loadtest.servers.certificate import Certificates, make
from runtime.destination import Address, Allowed
from runtime.signature import Unverified, parse_secrets, verify
from runtime.webhook import Answer, Resolve, Webhook
from tests.runtime.receiver import Receiver, Reply, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HERE = ip_address("127.0.0.1")


@dataclass(slots=True)
class Names:
    """A resolver that answers with the next of `answers`, the last one for ever."""

    answers: list[Sequence[Address]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def webhook(
    hosts: str,
    resolve: Resolve | None = None,
    *,
    context: ssl.SSLContext | None = None,
    total: float = 5.0,
    connect: float = 3.0,
) -> Webhook:
    return Webhook(
        Allowed.parse(hosts),
        parse_secrets(SECRET),
        resolve=resolve,
        context=context or ssl.create_default_context(),
        total=total,
        connect=connect,
    )


async def post(sender: Webhook, url: str, body: bytes = b'{"a": 1}', id: str = "an-id") -> Answer:
    try:
        return await sender.post(url, id, body)
    finally:
        await sender.close()


def local(receiver: Receiver, path: str = "/done") -> str:
    return f"http://127.0.0.1:{receiver.port}{path}"


# ── what arrives ──────────────────────────────────────────────────────────────────────────────


async def test_it_arrives_whole_signed_and_under_its_name() -> None:
    async with receiving() as receiver:
        hosts = f"hooks.test:{receiver.port}=private"
        url = f"http://hooks.test:{receiver.port}/done?job=7"
        answer = await post(webhook(hosts, Names([[HERE]])), url, b'{"a": "\xc3\xa4"}')
    assert answer == Answer(True, 200)
    (request,) = receiver.received
    assert request.line == "POST /done?job=7 HTTP/1.1"
    assert request.headers["host"] == f"hooks.test:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Lumbre/")
    assert request.body == b'{"a": "\xc3\xa4"}'
    assert verify(SECRET, request.headers, request.body) == "an-id"
    with pytest.raises(Unverified):
        verify(SECRET, request.headers, request.body.replace(b"a", b"b"))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_delivery(status: int) -> None:
    async with receiving(Reply(status)) as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
    assert answer == Answer(True, status)


async def test_a_connection_is_used_again() -> None:
    async with receiving(Reply(200, body=b"thank you")) as receiver:
        sender = webhook(f"127.0.0.1:{receiver.port}")
        for _ in range(3):
            assert (await sender.post(local(receiver), "id", b"{}")).delivered
        await sender.close()
    assert [request.connection for request in receiver.received] == [1, 1, 1]


# ── what is answered ──────────────────────────────────────────────────────────────────────────


async def test_an_error_is_told_with_the_beginning_of_its_body() -> None:
    body = b"no \x1b[31mroom\r\n" + b"x" * 5000
    async with receiving(Reply(500, body=body)) as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
    assert answer.status_code == 500 and not answer.delivered and not answer.final
    assert answer.error is not None and answer.error.startswith("it answered 500: no [31mroom xxx")
    assert len(answer.error) < 350


async def test_gone_is_final() -> None:
    async with receiving(Reply(410)) as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
    assert answer.final and answer.status_code == 410


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_nobody_goes_there(status: int) -> None:
    async with receiving() as other, receiving() as receiver:
        elsewhere = f"http://127.0.0.1:{other.port}/"
        receiver.replies = [Reply(status, [("Location", elsewhere)])]
        hosts = f"127.0.0.1:{receiver.port},127.0.0.1:{other.port}"  # even where it is allowed
        answer = await post(webhook(hosts), local(receiver))
        assert not answer.delivered and not answer.final and answer.status_code == status
        assert answer.error is not None and "redirects are not followed" in answer.error
        assert other.received == []


@pytest.mark.parametrize("status", [429, 503])
async def test_who_asks_for_time_is_heard(status: int) -> None:
    in_a_minute = formatdate(time.time() + 60, usegmt=True)
    replies = [
        Reply(status, [("Retry-After", text)])
        for text in ("17", in_a_minute, "soon", "-3", "9" * 400, "Mon, 99 Foo 2020", "")
    ]
    async with receiving(*replies) as receiver:
        sender = webhook(f"127.0.0.1:{receiver.port}")
        asked = [(await sender.post(local(receiver), "id", b"{}")).retry_after for _ in replies]
        await sender.close()
    assert asked[0] == 17
    assert asked[1] == pytest.approx(60, abs=5)
    assert asked[4] is not None and asked[4] > 1e6
    assert asked[2] is asked[3] is asked[5] is asked[6] is None


async def test_retry_after_means_nothing_with_other_statuses() -> None:
    async with receiving(Reply(500, [("Retry-After", "17")])) as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
    assert answer.retry_after is None


async def test_a_silent_server_is_left_after_a_while() -> None:
    async with receiving(Reply(silent=True)) as receiver:
        sender = webhook(f"127.0.0.1:{receiver.port}", total=0.3)
        answer = await post(sender, local(receiver))
        assert len(receiver.received) == 1
    assert answer == Answer(False, error="no answer within 0.3 s")


async def test_many_silent_servers_leave_room_for_others() -> None:
    """A given-up request must give back its place in the pool of connections."""
    async with receiving(Reply(silent=True)) as dead, receiving() as receiver:
        sender = webhook(f"127.0.0.1:{dead.port},127.0.0.1:{receiver.port}", total=0.5)
        given_up = [sender.post(local(dead), f"id-{n}", b"{}") for n in range(64)]
        assert not any(answer.delivered for answer in await asyncio.gather(*given_up))
        assert (await sender.post(local(receiver), "id", b"{}")).delivered
        await sender.close()


async def test_a_huge_answer_is_not_read_to_its_end() -> None:
    async with receiving(Reply(500, body=b"no\n" * 1000, endless=True)) as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
        assert answer.status_code == 500
        assert answer.error is not None and len(answer.error) < 350
        receiver.replies = [Reply(200, endless=True)]
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
        assert answer == Answer(True, 200)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    body = b"\x1f\x8b not even gzip"
    async with receiving(Reply(200, [("Content-Encoding", "gzip")], body)) as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
    assert answer.delivered


async def test_an_answer_that_breaks_off_has_told_its_status() -> None:
    async with receiving(Reply(200, [("Transfer-Encoding", "chunked")])) as receiver:
        # Content-Length and chunked at once: httpcore goes by the chunks, and none comes.
        sender = webhook(f"127.0.0.1:{receiver.port}", total=10)
        answer = await post(sender, local(receiver))
    assert answer == Answer(True, 200)


async def test_a_connection_that_is_closed_without_an_answer_is_a_failure() -> None:
    async with receiving(Reply(cut=True)) as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))
    assert not answer.delivered and answer.status_code is None and not answer.final
    assert answer.error is not None and "no answer from 127.0.0.1" in answer.error


async def test_garbage_is_a_failure() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-nothing\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answer = await post(webhook(f"127.0.0.1:{port}"), f"http://127.0.0.1:{port}/")
    server.close()
    assert not answer.delivered and answer.error is not None
    assert answer.error.startswith(f"no answer from 127.0.0.1:{port}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def test_a_closed_port_is_a_failure_that_says_so() -> None:
    port = free_port()
    answer = await post(
        webhook(f"hooks.test:{port}=private", Names([[HERE]])), f"http://hooks.test:{port}/"
    )
    assert answer == Answer(False, error=f"no connection to hooks.test:{port}: Connection refused")


# ── where it goes ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "inward",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ],
)
async def test_a_name_that_leads_inward_is_refused_for_good(inward: str) -> None:
    async with receiving() as receiver:
        port = receiver.port
        # One bad address among good ones is enough, whatever its place.
        names = Names([[ip_address("8.8.8.8"), ip_address(inward)]])
        sender = webhook(f"hooks.test:{port}", names)
        answer = await post(sender, f"http://hooks.test:{port}/")
        assert receiver.connections == 0
    assert answer.final and not answer.delivered
    assert answer.error is not None and "hooks.test=private" in answer.error
    assert inward not in answer.error


async def test_a_private_name_may_not_lead_to_a_clouds_metadata() -> None:
    names = Names([[ip_address("169.254.169.254")]])
    answer = await post(webhook("hooks.test=private", names), "http://hooks.test/")
    assert answer.final


async def test_a_name_is_asked_for_once_and_what_it_said_is_connected_to() -> None:
    """DNS rebinding: the second answer leads inward, and there is no second question."""
    async with receiving() as receiver, receiving() as inner:
        names = Names([[ip_address("127.0.0.1")], [ip_address("127.0.0.2")]])
        sender = webhook(f"hooks.test:{receiver.port}=private", names)
        answer = await post(sender, f"http://hooks.test:{receiver.port}/")
        assert answer.delivered and len(receiver.received) == 1
        assert inner.connections == 0
    assert names.asked == [("hooks.test", receiver.port)]


async def test_the_system_resolver_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was judged is the one that is connected to, whatever the name says then."""
    asked: list[object] = []
    original = socket.getaddrinfo

    def counted(host: object, *rest: object, **more: object) -> object:
        asked.append(host)
        return original(host, *rest, **more)  # type: ignore[arg-type]

    async with receiving() as receiver:
        sender = webhook(f"localhost:{receiver.port}=private")
        monkeypatch.setattr(socket, "getaddrinfo", counted)
        answer = await post(sender, f"http://localhost:{receiver.port}/")
    assert answer.delivered
    assert asked.count(b"localhost") == 1 and "localhost" not in asked


async def test_a_name_that_is_rebound_inward_between_two_posts_is_refused() -> None:
    async with receiving(Reply(500, [("Connection", "close")])) as receiver:
        names = Names([[HERE], [ip_address("169.254.169.254")]])
        sender = webhook(f"hooks.test:{receiver.port}=private", names)
        url = f"http://hooks.test:{receiver.port}/"
        first = await sender.post(url, "id", b"{}")
        second = await post(sender, url)
    assert (first.status_code, first.final) == (500, False)
    assert second.final and len(receiver.received) == 1


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async with receiving() as receiver:
        nobody = ip_address("127.0.0.9")  # the receiver listens on 127.0.0.1 alone
        sender = webhook(f"hooks.test:{receiver.port}=private", Names([[nobody, HERE]]))
        assert (await post(sender, f"http://hooks.test:{receiver.port}/")).delivered


async def test_a_name_that_resolves_too_slowly_is_given_up() -> None:
    async def never(host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    answer = await post(webhook("hooks.test", never, connect=0.2), "https://hooks.test/")
    assert answer == Answer(False, error="no connection to hooks.test within 0.2 s")


async def test_a_name_that_does_not_exist_is_tried_again_later() -> None:
    answer = await post(webhook("nobody.invalid"), "https://nobody.invalid/")
    assert not answer.delivered and not answer.final
    assert answer.error is not None and "nobody.invalid cannot be resolved" in answer.error


async def test_a_name_without_an_address_is_tried_again_later() -> None:
    answer = await post(webhook("hooks.test", Names([[]])), "https://hooks.test/")
    assert not answer.final and answer.error is not None and "has no address" in answer.error


async def test_a_host_that_is_no_longer_listed_is_given_up_at_once() -> None:
    answer = await post(webhook("other.test"), "https://hooks.test/")
    assert answer.final and answer.error is not None and "LUMBRE_CALLBACK_HOSTS" in answer.error


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver))).delivered
        assert proxy.connections == 0


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


def server_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.server_key)
    return context


def trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


async def test_tls_goes_by_the_name_and_the_connection_by_the_address(
    certificates: Certificates,
) -> None:
    async with receiving(context=server_context(certificates)) as receiver:
        names = Names([[HERE]])
        sender = webhook(
            f"localhost:{receiver.port}=private", names, context=trusting(certificates.authority)
        )
        answer = await post(sender, f"https://localhost:{receiver.port}/")
    assert answer == Answer(True, 200)
    assert receiver.names == ["localhost"]
    assert names.asked == [("localhost", receiver.port)]
    assert receiver.received[0].headers["host"] == f"localhost:{receiver.port}"


async def test_a_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    async with receiving(context=server_context(certificates)) as receiver:
        sender = webhook(
            f"hooks.test:{receiver.port}=private",
            Names([[HERE]]),
            context=trusting(certificates.authority),
        )
        answer = await post(sender, f"https://hooks.test:{receiver.port}/")
    assert receiver.received == [] and receiver.names == ["hooks.test"]
    assert not answer.delivered and not answer.final
    assert answer.error is not None
    assert "certificate of hooks.test is not valid" in answer.error


async def test_a_certificate_of_an_unknown_authority_is_refused(
    certificates: Certificates,
) -> None:
    async with receiving(context=server_context(certificates)) as receiver:
        sender = webhook(f"127.0.0.1:{receiver.port}", context=trusting(certificates.stranger))
        answer = await post(sender, f"https://127.0.0.1:{receiver.port}/")
    assert receiver.received == []
    assert answer.error is not None and "is not valid" in answer.error


async def test_tls_with_a_server_that_speaks_none_is_a_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answer = await post(webhook(f"127.0.0.1:{port}"), f"https://127.0.0.1:{port}/")
    server.close()
    assert not answer.delivered
    assert answer.error is not None and "no TLS with 127.0.0.1" in answer.error


async def test_a_handshake_that_is_given_up_leaves_no_connection_behind() -> None:
    ended = asyncio.Event()

    async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):  # what TLS begins with, and then nothing
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_server(stalls, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = webhook(f"127.0.0.1:{port}", total=0.3, connect=30)
    answer = await sender.post(f"https://127.0.0.1:{port}/", "id", b"{}")
    await asyncio.wait_for(ended.wait(), 5)
    await sender.close()
    server.close()
    assert answer == Answer(False, error="no answer within 0.3 s")


async def test_without_a_context_public_authorities_are_trusted(
    certificates: Certificates,
) -> None:
    async with receiving(context=server_context(certificates)) as receiver:
        sender = Webhook(Allowed.parse(f"127.0.0.1:{receiver.port}"), parse_secrets(SECRET))
        answer = await post(sender, f"https://127.0.0.1:{receiver.port}/")
    assert receiver.received == []
    assert answer.error is not None and "is not valid" in answer.error


async def test_a_large_body_arrives_whole() -> None:
    body = json.dumps({"data": "x" * 600_000}).encode()
    async with receiving() as receiver:
        answer = await post(webhook(f"127.0.0.1:{receiver.port}"), local(receiver), body)
    assert answer.delivered and receiver.received[0].body == body
