"""Keys in a browser: being led to the door and back, what a key may not do, and signing out."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from runtime.scopes import Scope
from tests.browser.conftest import Open
from tests.browser.opened import HERE, Opened
from tests.support import ROOT, NodeFactory, RunningNode, eventually

REFUSED = re.compile("needs the scope invoke or admin.*'looks' has read")


@pytest.fixture(scope="module")
def locked(start_node: NodeFactory) -> RunningNode:
    """A node that asks for keys, with an invocation and something that was given up on."""
    node = start_node(HERE / "functions", BROWSER_MERCY="/nonexistent", LUMBRE_SIMULATE_GPU="1")
    for name, body in (("fails", {"text": '{"number": 1}'}), ("dies", {})):
        answer = node.client.post(f"/invoke/{name}", json=body, headers={"Prefer": "wait=30"})
        assert answer.status_code in (200, 500, 502, 503), answer.text
    return node


@pytest.fixture(scope="module")
def keys(locked: RunningNode) -> dict[Scope, str]:
    """A key of each scope, by it."""
    made = {
        Scope.READ: _key(locked, "looks", Scope.READ),
        Scope.INVOKE: _key(locked, "runs", Scope.READ, Scope.INVOKE),
        Scope.ADMIN: _key(locked, "keeps house", Scope.ADMIN),
    }
    eventually(lambda: locked.client.get("/functions").status_code == 401)
    return made


def _key(node: RunningNode, name: str, *scopes: Scope) -> str:
    """A key, made as its owner would make it."""
    wanted = [word for scope in scopes for word in ("--scope", scope)]
    command = [sys.executable, "-m", "runtime", "keys", "create", name, *wanted]
    where = ["--state", str(node.state)]
    done = subprocess.run([*command, *where], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def signed_out(locked: RunningNode, page_at: Open) -> None:
    """Pages of a module share their cookies."""
    page_at(f"{locked.url}/signin").page.context.clear_cookies(name="lumbre_session")


def test_a_browser_is_led_to_the_door_and_back_to_where_it_wanted_to_go(
    locked: RunningNode, keys: dict[Scope, str], page_at: Open
) -> None:
    wanted = f"{locked.url}/invocations?function=fails&status=succeeded"
    opened = page_at(wanted, name="signing-in")
    page = opened.page
    expect(page).to_have_title("Sign in · Lumbre")
    expect(page.get_by_label("API key")).to_be_focused()
    expect(page.locator("#foot")).to_have_text("")  # nobody is told where the ledger is

    page.get_by_label("API key").fill("lumbre_no_such_key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("That key is not valid.")
    opened.shot("-wrong")
    opened.assert_fits()

    page.get_by_label("API key").fill(keys[Scope.READ])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(wanted)
    expect(page.locator("main tbody tr")).to_have_count(1)
    header = page.get_by_role("banner")
    expect(header).to_contain_text("looks")
    opened.settle()  # a session counts for what htmx asks, too
    opened.shot("-in")
    opened.assert_fits()

    header.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · Lumbre")
    page.goto(f"{locked.url}/queues")
    expect(page).to_have_title("Sign in · Lumbre")


def test_a_page_that_is_open_while_its_session_ends_leads_to_the_door_by_itself(
    locked: RunningNode, keys: dict[Scope, str], page_at: Open
) -> None:
    opened = page_at(locked.url, name="signing-in-ended")
    opened.expected |= {401}
    _sign_in(opened, keys[Scope.READ])
    page = opened.page
    expect(page.locator("h1")).to_have_text("Overview")
    page.context.clear_cookies(name="lumbre_session")
    expect(page).to_have_title("Sign in · Lumbre")
    _sign_in(opened, keys[Scope.READ])
    expect(page.locator("h1")).to_have_text("Overview")


def test_a_key_that_may_only_read_finds_no_button_and_is_told_why(
    locked: RunningNode, keys: dict[Scope, str], page_at: Open
) -> None:
    opened = page_at(f"{locked.url}/functions/fails", name="signing-in-reader")
    opened.expected |= {403}
    _sign_in(opened, keys[Scope.READ])
    page = opened.page
    main = page.locator("main")
    expect(main).to_contain_text("Invoking needs the scope invoke, and the API key looks has read.")
    expect(page.get_by_role("button", name="Run")).to_have_count(0)
    expect(page.get_by_label("text")).to_be_disabled()
    opened.settle()
    opened.shot("-function")
    opened.assert_fits()
    opened.assert_accessible()

    page.evaluate("() => document.querySelector('form.invoke').submit()")  # as a page of before
    expect(page.locator("h1")).to_have_text("Forbidden")
    expect(main).to_contain_text(REFUSED)
    opened.shot("-refused")
    opened.assert_fits()

    for path, words in (("/queues/dead", "Replay"), ("/benchmarks", "Benchmark CPU vs GPU")):
        page.goto(f"{locked.url}{path}")
        expect(main).to_contain_text("needs the scope admin")
        expect(page.get_by_role("button", name=words)).to_have_count(0)
        opened.settle()  # a refresh brings none, though somebody else has them
        expect(page.get_by_role("button", name=words)).to_have_count(0)
        opened.shot(path.replace("/", "-"))


def test_what_one_key_is_shown_another_one_is_not(
    locked: RunningNode, keys: dict[Scope, str], page_at: Open
) -> None:
    """A refresh is made once for all who see the same."""
    opened = page_at(f"{locked.url}/functions", name="signing-in-invoker")
    _sign_in(opened, keys[Scope.INVOKE])
    page = opened.page
    opened.settle()
    expect(page.get_by_role("link", name="Invoke fails")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{locked.url}/functions")
    _sign_in(opened, keys[Scope.READ])
    opened.settle()
    expect(page.get_by_role("link", name="fails", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Invoke fails")).to_have_count(0)


def test_a_key_that_may_invoke_runs_a_function_and_admin_replays(
    locked: RunningNode, keys: dict[Scope, str], page_at: Open
) -> None:
    opened = page_at(f"{locked.url}/functions/fails", name="signing-in-runs")
    _sign_in(opened, keys[Scope.INVOKE])
    page = opened.page
    page.get_by_label("text").fill('{"number": 7654321}')
    page.get_by_role("button", name="Run").first.click()
    expect(page.locator("#ran")).to_contain_text("7654321")
    page.goto(f"{locked.url}/queues/dead")
    expect(page.get_by_role("button", name="Replay")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{locked.url}/queues/dead")
    _sign_in(opened, keys[Scope.ADMIN])
    expect(page.get_by_role("button", name="Replay selected")).to_be_visible()
    opened.shot("-admin")


def _sign_in(opened: Opened, key: str) -> None:
    page = opened.page
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
