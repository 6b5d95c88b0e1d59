"""A page of the console that a test has opened in a browser, and what is asked of every page."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

HERE = Path(__file__).parent
AXE = (HERE / "axe.min.js").read_text()
GRAVE = ("serious", "critical")  # what axe-core says of a finding that somebody cannot live with
MOST_SHIFT = (
    0.05  # cumulative layout shift (web.dev/cls) that a page may have without anybody's doing
)
SETTLED = 15_000  # milliseconds that charts and a refresh may take on a busy machine

# Runs before the page's own scripts; shifts just after a click or a key are the user's own doing.
WATCH = """
window.lumbreShift = {value: 0, of: []};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    lumbreShift.value += entry.value;
    for (const {node} of entry.sources ?? []) {
      lumbreShift.of.push(node?.id || node?.className || node?.nodeName || "?");
    }
  }
}).observe({type: "layout-shift", buffered: true});
"""
TURN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
DRAWN = """
() => [...document.querySelectorAll("lumbre-chart")]
  .every((chart) => chart.shadowRoot?.querySelector("svg"))
"""
SCAN = """
async () => {
  const options = {resultTypes: ["violations"]};
  const {violations} = await axe.run(document, options);
  return violations.map(({id, impact, help, nodes}) => ({
    id, impact, help, where: nodes.slice(0, 4).map((node) => node.html.slice(0, 200)),
  }));
}
"""
OVERFLOW = """
() => {
  const wide = document.documentElement.clientWidth;
  const clipped = (node) => {
    for (let up = node.parentElement; up; up = up.parentElement) {
      if (getComputedStyle(up).overflowX !== "visible") return true;
    }
    return false;
  };
  if (document.documentElement.scrollWidth <= wide) return [];
  return [...document.body.querySelectorAll("*")]
    .filter((node) => node.getBoundingClientRect().right > wide + 1 && !clipped(node))
    .slice(0, 5).map((node) => node.outerHTML.slice(0, 150));
}
"""


@dataclass
class Opened:
    """A page, and all that went wrong with it since it was opened.

    `expected` are statuses that are no failure here, such as 409 where a test provokes one.
    """

    page: Page
    name: str  # of its screenshots
    screenshots: Path
    script: bool
    expected: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Collect errors from now on."""
        self.page.on("console", self._said)
        self.page.on("pageerror", self._broke)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def leave(self) -> None:
        """Collect no more, and let the page rest."""
        self.page.goto("about:blank")
        self.page.remove_listener("console", self._said)
        self.page.remove_listener("pageerror", self._broke)
        self.page.remove_listener("requestfailed", self._failed)
        self.page.remove_listener("response", self._answered)

    def settle(self) -> None:
        """Wait until charts are drawn and a refresh of all live regions has been taken in."""
        if not self.script:
            return
        self._scroll_through()
        self.page.wait_for_function(DRAWN, timeout=SETTLED)
        if self.page.locator("[data-live]:not([data-over])").count():
            with self.page.expect_response(_refreshes, timeout=SETTLED):
                self.page.evaluate("lumbre.refresh()")
        self.page.evaluate(TURN)

    def _scroll_through(self) -> None:
        """As somebody reads: what is drawn only when it is looked at is drawn now."""
        high = int(self.page.evaluate("document.documentElement.scrollHeight"))
        for top in range(0, high, 700):
            self.page.evaluate(f"scrollTo(0, {top})")
            self.page.evaluate(TURN)
        self.page.evaluate("scrollTo(0, 0)")

    def shot(self, more: str = "") -> Path:
        """A screenshot of all of it."""
        path = self.screenshots / f"{self.name}{more}.png"
        self.page.screenshot(path=path, full_page=True, animations="disabled")
        return path

    # ── what is asked of every page ───────────────────────────────────────────────────────────

    def assert_no_error(self) -> None:
        """No error in the browser's console, none in a script, no request that failed."""
        assert not self.wrong, self.wrong

    def assert_accessible(self) -> None:
        """No serious or critical finding of axe-core."""
        if not self.page.evaluate("typeof axe === 'object'"):
            self.page.evaluate(AXE)  # not as an element: the policy would not let it run
        found: list[dict[str, Any]] = self.page.evaluate(SCAN)
        grave = [one for one in found if one["impact"] in GRAVE]
        assert not grave, f"{self.page.url}: {grave}"

    def assert_still(self) -> None:
        """Nothing moved under the reader's eyes."""
        shift = self.page.evaluate("lumbreShift")
        assert shift["value"] <= MOST_SHIFT, f"{self.page.url}: {shift}"

    def assert_fits(self) -> None:
        """The body does not scroll sideways."""
        wide = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{self.page.url}: {wide}: {self.page.evaluate(OVERFLOW)}"

    # ── events ────────────────────────────────────────────────────────────────────────────────

    def _said(self, message: ConsoleMessage) -> None:
        """A failed request is said here too; `_answered` tells whether it was expected."""
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load"):
            self.wrong.append(f"console of {self.page.url}: {message.text}")

    def _broke(self, error: Error) -> None:
        self.wrong.append(f"script of {self.page.url}: {error}")

    def _failed(self, request: Request) -> None:
        """What the browser itself breaks off, because somebody goes on to another page, is none."""
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"request failed: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.wrong.append(f"{response.status} of {response.url}")


def _refreshes(response: Response) -> bool:
    return response.request.headers.get("hx-request-type") == "partial"
