"""A browser, a node with something to see, and pages that are held to what every page must do.

Playwright's loop is in the way of asynchronous tests while it runs, so a browser lasts as long as
a module.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.opened import HERE, WATCH, Opened
from tests.browser.seed import Seeded, mercy, seed
from tests.support import ROOT, RunningNode

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
)
HEIGHT = 900  # pixels of the window
PATIENCE = 20_000  # milliseconds for anything that a page waits for

Open = Callable[..., Opened]


def executable() -> str:
    """The Chromium to drive; without one, CI fails and a laptop skips."""
    if named := os.environ.get("LUMBRE_CHROMIUM"):
        return named
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        why = "no Chromium on this machine: install one, or name it in LUMBRE_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one module."""
    path = executable()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node with a simulated GPU, the shipped functions, and those of this folder."""
    executable()  # before a node is started for nothing
    folder = tmp_path_factory.mktemp("browser")
    functions = Path(f"{ROOT / 'functions'}:{HERE / 'functions'}")
    given = {"LUMBRE_SIMULATE_GPU": "1", "BROWSER_MERCY": str(mercy(folder))}
    node = RunningNode(folder, functions, given).start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def seeded(node: RunningNode) -> Seeded:
    """What the node has seen before the first page is opened."""
    return seed(node)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node without any function, where nothing ever happened."""
    executable()
    folder = tmp_path_factory.mktemp("bare")
    (folder / "functions").mkdir()
    node = RunningNode(folder, folder / "functions", {}).start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where they go: LUMBRE_SCREENSHOTS, or a folder here that git ignores."""
    folder = Path(os.environ.get("LUMBRE_SCREENSHOTS", HERE / "screenshots")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Windows:
    """Pages of one browser, by width and with scripts or without; a free one is used again."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: dict[tuple[int, bool], BrowserContext] = {}
        self._free: dict[tuple[int, bool], list[Page]] = {}

    def take(self, width: int, script: bool) -> Page:
        """A page that nobody looks at."""
        key = (width, script)
        free = self._free.setdefault(key, [])
        return free.pop() if free else self._context(width, script).new_page()

    def give_back(self, page: Page, width: int, script: bool) -> None:
        """Whoever has it is done with it."""
        self._free[width, script].append(page)

    def close(self) -> None:
        """Close all of them."""
        for context in self._contexts.values():
            context.close()

    def _context(self, width: int, script: bool) -> BrowserContext:
        if (width, script) not in self._contexts:
            new = self._browser.new_context(
                viewport={"width": width, "height": HEIGHT},
                java_script_enabled=script,
                reduced_motion="reduce",
            )
            new.set_default_timeout(PATIENCE)
            if script:
                new.add_init_script(WATCH)
            self._contexts[width, script] = new
        return self._contexts[width, script]


@pytest.fixture(scope="module")
def windows(chromium: Browser) -> Iterator[Windows]:
    """Pages that tests of a module use one after the other, since making one takes a while."""
    found = Windows(chromium)
    yield found
    found.close()


@pytest.fixture
def page_at(windows: Windows, screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a page: `page_at(url, theme="dark", width=390, script=False, name="…")`.

    When the test has ended, none of its pages may have had an error or a failed request.
    """
    opened: list[tuple[Opened, int]] = []

    def open_at(
        url: str, *, theme: str = "light", width: int = 1440, script: bool = True, name: str = ""
    ) -> Opened:
        page = windows.take(width, script)
        origin = "/".join(url.split("/")[:3])
        page.context.add_cookies([{"name": "lumbre_theme", "value": theme, "url": origin}])
        found = Opened(page, name or str(request.node.name), screenshots, script)
        found.watch()
        opened.append((found, width))
        page.goto(url, wait_until="load")
        return found

    yield open_at
    for each, width in opened:
        each.leave()
        windows.give_back(each.page, width, each.script)
    for each, _ in opened:
        each.assert_no_error()
