"""A gateway over RabbitMQ: its pages while the broker goes and comes, and while it does itself."""

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from loadtest.chaos.member import Member
from loadtest.servers import RabbitServer
from loadtest.servers.guarded import free_ports
from tests.browser.conftest import Open, executable
from tests.browser.opened import HERE, Opened
from tests.forwarder import Forwarder
from tests.support import eventually
from tests.test_faults import UP, Roles

VHOST = "test-console"
AWAY = 40_000  # milliseconds: a page asks after longer and longer pauses
UNREACHABLE = re.compile("ERR_(CONNECTION|EMPTY|INCOMPLETE|SOCKET)|Failed to fetch")


@dataclass(frozen=True, slots=True)
class Apart:
    """A gateway and a worker with a simulated GPU, each a process, and the way to their broker."""

    roles: Roles
    gateway: Member
    way: Forwarder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.roles.port}"

    def finished(self) -> int:
        return len(self.roles.client.get("/invocations").json()["items"])


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, rabbit: RabbitServer) -> Iterator[Apart]:
    executable()
    way = Forwarder(rabbit.port)
    way.open()
    rabbit.add_vhost(VHOST)
    url = rabbit.url(vhost=VHOST).replace(f":{rabbit.port}/", f":{way.port}/")
    given = {"FUNCTIONS": HERE / "bench_functions", "SIMULATE_GPU": 1}
    roles = Roles(tmp_path_factory.mktemp("broker"), rabbit, url, **given)
    gateway, worker = roles.gateway(), roles.worker()
    eventually(lambda: gateway.ready and worker.ready, UP)
    yield Apart(roles, gateway, way)
    roles.close()
    way.close()
    rabbit.remove_vhost(VHOST)
    assert not roles.complaints


def test_pages_work_and_outlast_the_broker_and_the_gateway(apart: Apart, page_at: Open) -> None:
    url, gateway = apart.url, apart.gateway
    opened = page_at(url, name="broker")
    page = opened.page
    _run(opened, url, 20)
    page.goto(url)
    replicas = page.locator(".tile", has_text="Replicas ready").locator(".figure")
    expect(replicas).to_have_text("2")
    opened.settle()
    opened.shot("-1-up")
    opened.assert_fits()

    apart.way.close()
    banner = page.locator("#banner")
    expect(banner).to_contain_text("The broker is away. That began", timeout=AWAY)
    expect(page.locator("#live")).to_have_class("stale")
    expect(replicas).to_have_text("2")  # what was known last
    opened.shot("-2-broker-away")
    opened.assert_still()
    apart.way.open()
    expect(banner).to_be_empty(timeout=AWAY)
    expect(page.locator("#live")).not_to_have_class("stale")
    _run(opened, url, 30)

    page.goto(f"{url}/queues")
    opened.settle()
    assert gateway.pid
    os.kill(gateway.pid, signal.SIGKILL)
    away = page.get_by_role("alert").filter(has_text="This console's server does not answer")
    expect(away).to_be_visible(timeout=AWAY)
    expect(away).to_contain_text(re.compile(r"since \d"))
    expect(page.locator("#content")).to_have_class("stale")
    expect(page.locator("#queue-naps\\.cpu")).to_be_visible()
    opened.shot("-3-server-away")
    eventually(lambda: gateway.pid is None)
    gateway.start()
    expect(away).to_be_hidden(timeout=AWAY)
    expect(page.locator("#content")).not_to_have_class("stale")
    expect(page.locator("#queue-naps\\.cpu")).to_contain_text(re.compile(r"1 of \d"), timeout=AWAY)
    opened.shot("-4-server-back")
    _run(opened, url, 40)
    _forgive(opened)


def test_a_console_beside_it_shows_the_same_and_changes_nothing(
    apart: Apart, page_at: Open
) -> None:
    (port,) = free_ports(1)
    console = apart.roles.role("console", "console", f"--port={port}", "--read-only")
    eventually(lambda: console.ready, UP)
    opened = page_at(f"http://127.0.0.1:{port}/invocations", name="console-alone")
    opened.expected |= {403}
    page = opened.page
    rows = apart.finished()
    expect(page.locator("main tbody tr")).to_have_count(rows)
    expect(page.locator("main tbody tr").first).to_contain_text("naps")
    page.goto(f"http://127.0.0.1:{port}/functions/naps")
    expect(page.locator("main")).to_contain_text("it was started with --read-only")
    expect(page.get_by_role("button", name="Run")).to_have_count(0)
    expect(page.locator(".tile", has_text="Replicas, CPU")).to_contain_text(re.compile(r"1 of \d"))
    opened.shot()
    opened.assert_fits()
    page.evaluate("() => document.querySelector('form.invoke').submit()")
    expect(page.locator("main")).to_contain_text("read-only")
    assert apart.finished() == rows


def _run(opened: Opened, url: str, n: int) -> None:
    """Through the form, as anywhere else."""
    page: Page = opened.page
    page.goto(f"{url}/functions/naps")
    page.get_by_label("n", exact=True).fill(f"{n}")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#ran")).to_contain_text("succeeded", timeout=AWAY)
    expect(page.locator("#ran")).to_contain_text(f'"n": {n}')


def _forgive(opened: Opened) -> None:
    """What failed because there was no server is expected; nothing else is."""
    unreached = [one for one in opened.wrong if UNREACHABLE.search(one)]
    assert unreached, "no request failed: the server was never away"
    for one in unreached:
        opened.wrong.remove(one)
