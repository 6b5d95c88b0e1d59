"""What a checkup says of real servers, whole and broken; never a password."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from loadtest.servers import RabbitServer
from runtime.brokers import QueueSpec
from runtime.brokers.rabbitmq import Address, RabbitBroker, examine_management, examine_server
from runtime.finding import Finding, State
from runtime.settings import Settings
from tests.conftest import running

SECRET = "s3cr3t-%40"


async def only(url: str) -> Finding:
    (found,) = await examine_server(Address.parse(url))
    assert "s3cr3t" not in f"{found}"
    return found


async def test_a_whole_server_is_entered_and_its_queues_are_tried(
    rabbit: RabbitServer, rabbit_url: str
) -> None:
    entered, tried = await examine_server(Address.parse(rabbit_url))
    assert (entered.state, tried.state) == (State.OK, State.OK)
    assert "RabbitMQ 3." in entered.text
    assert "guest:" not in entered.text
    assert "quorum queues and streams" in tried.text
    vhost = Address.parse(rabbit_url).vhost
    assert await asyncio.to_thread(rabbit.queues, vhost) == []


async def test_a_wrong_password_is_a_problem(rabbit: RabbitServer) -> None:
    found = await only(rabbit.url(password=SECRET))
    assert found.state is State.PROBLEM
    assert "refused user 'guest' with this password" in found.text


async def test_a_missing_vhost_is_a_problem_and_the_command_is_told(rabbit: RabbitServer) -> None:
    found = await only(rabbit.url(vhost="nowhere"))
    assert found.state is State.PROBLEM
    assert "rabbitmqctl add_vhost nowhere" in found.text


async def test_a_server_that_is_away_is_a_problem() -> None:
    found = await only(f"amqp://me:{SECRET}@127.0.0.1:9/")
    assert found.state is State.PROBLEM
    assert "connection refused" in found.text
    assert "LUMBRE_BROKER_URL" in found.advice


async def test_one_host_of_two_that_is_away_is_a_warning(rabbit_url: str) -> None:
    several = rabbit_url.replace("@", "@127.0.0.1:9,")
    away, entered, tried = await examine_server(Address.parse(several))
    assert (away.state, entered.state, tried.state) == (State.WARNING, State.OK, State.OK)


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (("^$", ".*", ".*"), "configure"),
        ((".*", "^$", ".*"), "write"),
        ((".*", ".*", "^$"), "read"),
    ],
    ids=["configure", "write", "read"],
)
async def test_a_right_that_is_missing_is_a_problem(
    rabbit: RabbitServer, rabbit_url: str, missing: str, rights: tuple[str, str, str]
) -> None:
    vhost, user = Address.parse(rabbit_url).vhost, f"user-{uuid4().hex[:8]}"
    await asyncio.to_thread(rabbit.add_user, user, SECRET, vhost)
    await asyncio.to_thread(rabbit.ctl, "set_permissions", "--vhost", vhost, user, *rights)
    url = rabbit.url(user, SECRET, vhost)
    entered, tried = await examine_server(Address.parse(url))
    assert (entered.state, tried.state) == (State.OK, State.PROBLEM)
    assert missing in tried.text
    assert f"set_permissions --vhost {vhost}" in tried.text
    assert "s3cr3t" not in f"{entered}{tried}"


@pytest.fixture
async def alarmed(breakable_rabbit: RabbitServer) -> AsyncIterator[RabbitServer]:
    await asyncio.to_thread(breakable_rabbit.set_memory_alarm, True)
    yield breakable_rabbit
    await asyncio.to_thread(breakable_rabbit.set_memory_alarm, False)


async def test_an_alarm_that_blocks_is_a_problem(alarmed: RabbitServer) -> None:
    entered, tried = await examine_server(Address.parse(alarmed.url()))
    assert (entered.state, tried.state) == (State.OK, State.PROBLEM)
    assert "takes no messages: low on memory" in tried.text
    assert "vm_memory_high_watermark" in tried.advice


# ── the management API ────────────────────────────────────────────────────────────────────────


async def managed(url: str, broker: str) -> Finding:
    (found,) = await examine_management(url, Address.parse(broker))
    assert "s3cr3t" not in f"{found}"
    return found


async def test_the_management_api_is_entered_with_the_brokers_credentials(
    rabbit: RabbitServer, rabbit_url: str
) -> None:
    found = await managed(rabbit.management_url, rabbit_url)
    assert (found.state, "with statistics" in found.text) == (State.OK, True)


async def test_wrong_credentials_of_its_own_are_a_problem(
    rabbit: RabbitServer, rabbit_url: str
) -> None:
    url = rabbit.management_url.replace("://", f"://guest:{SECRET}@")
    found = await managed(url, rabbit_url)
    assert found.state is State.PROBLEM
    assert "refused user 'guest' (HTTP 401)" in found.text


async def test_a_vhost_that_it_does_not_know_is_a_problem(rabbit: RabbitServer) -> None:
    found = await managed(rabbit.management_url, rabbit.url(vhost="nowhere"))
    assert found.state is State.PROBLEM
    assert "nothing of vhost 'nowhere' (HTTP 404)" in found.text


@pytest.mark.parametrize(
    ("url", "told"),
    [("http://127.0.0.1:9", "does not answer"), ("nonsense", "'nonsense' is no URL")],
)
async def test_a_management_api_that_is_not_there_is_a_problem(url: str, told: str) -> None:
    found = await managed(url, "amqp://localhost/")
    assert found.state is State.PROBLEM
    assert told in found.text


@pytest.fixture(scope="module")
def private_rabbit() -> Iterator[RabbitServer]:
    """A RabbitMQ whose ports both speak TLS, with certificates of an authority of its own."""
    with running(lambda folder: RabbitServer(folder, tls=True)) as server:
        yield server


async def test_the_brokers_authority_is_that_of_its_management_api(
    private_rabbit: RabbitServer,
) -> None:
    assert private_rabbit.certificates
    address = Address.parse(private_rabbit.url(), ca=private_rabbit.certificates.authority)
    (found,) = await examine_management(private_rabbit.management_url, address)
    assert (found.state, "with statistics" in found.text) == (State.OK, True)
    broker = RabbitBroker(address, management_url=private_rabbit.management_url, name="test")
    await broker.open(0)
    await broker.declare([QueueSpec("f.cpu")])
    async with asyncio.timeout(20):
        while (await broker.survey(["f.cpu"])).leased is None:
            await asyncio.sleep(0.1)
    await broker.close()


async def test_a_management_api_of_an_unknown_authority_is_a_problem(
    private_rabbit: RabbitServer,
) -> None:
    found = await managed(private_rabbit.management_url, private_rabbit.url())
    assert found.state is State.PROBLEM
    assert "LUMBRE_BROKER_CA=FILE" in found.advice


async def test_credentials_apart_from_the_urls_open_the_broker_and_its_management_api(
    rabbit: RabbitServer, rabbit_url: str
) -> None:
    user, password = f"a/b@{uuid4().hex[:8]} é", "p ss:/?#[@]%2F'\"é"
    rabbit.add_user(user, password, urlsplit(rabbit_url).path[1:])
    rabbit.ctl("set_user_tags", user, "monitoring")
    wrong = rabbit_url.replace("guest:guest", f"guest:{SECRET}")
    address = Address.of(
        Settings(broker_url=wrong, broker_username=user, broker_password=SecretStr(password))
    )
    assert {found.state for found in await examine_server(address)} == {State.OK}
    url = rabbit.management_url.replace("://", f"://guest:{SECRET}@")
    (found,) = await examine_management(url, address)
    assert found.state is State.OK, found
