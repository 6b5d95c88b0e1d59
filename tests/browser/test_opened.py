"""What is asked of every page finds what it should: held against pages that are bad on purpose."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Route

from tests.browser.conftest import Windows
from tests.browser.opened import TURN, Opened

URL = "http://bad.invalid/"
GOOD = '<!doctype html><html lang="en"><title>t</title><main><h1>Good</h1></main>'
Show = Callable[[str], Opened]


@pytest.fixture
def show(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """Open a page with this HTML; one that is not served answers 404."""
    shown: list[Opened] = []

    def open_it(html: str) -> Opened:
        page = windows.take(390, True)

        def answer(route: Route) -> None:
            found = route.request.url == URL
            route.fulfill(status=200 if found else 404, body=html, content_type="text/html")

        page.route(f"{URL}**", answer)
        opened = Opened(page, "bad", tmp_path_factory.mktemp("shots"), True)
        opened.watch()
        shown.append(opened)
        page.goto(URL)
        page.evaluate(TURN)
        return opened

    yield open_it
    for each in shown:
        each.leave()
        each.page.unroute_all()
        windows.give_back(each.page, 390, True)


def test_a_good_page_passes_all_of_it(show: Show) -> None:
    opened = show(GOOD)
    opened.settle()
    opened.assert_no_error()
    opened.assert_fits()
    opened.assert_still()
    opened.assert_accessible()
    assert opened.shot().stat().st_size > 0


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<script>console.error('lost')</script>", "lost"),
        ("<script>throw new Error('broken')</script>", "broken"),
        ("<img src='/none.png' alt=''>", "404 of http://bad.invalid/none.png"),
    ],
)
def test_errors_and_failed_requests_are_found(show: Show, html: str, words: str) -> None:
    opened = show(GOOD + html)
    with pytest.raises(AssertionError, match=words):
        opened.assert_no_error()


def test_what_is_wider_than_the_window_is_found_and_named(show: Show) -> None:
    opened = show(GOOD + "<p id='wide' style='width: 900px'>wide</p>")
    with pytest.raises(AssertionError, match="wide"):
        opened.assert_fits()


def test_what_moves_by_itself_is_found_and_named(show: Show) -> None:
    opened = show(GOOD + "<p id='moved'>moved</p>" + "<p>more</p>" * 20)
    opened.page.evaluate("document.querySelector('h1').style.height = '500px'")
    opened.page.wait_for_function("lumbreShift.value > 0")
    with pytest.raises(AssertionError, match="moved"):
        opened.assert_still()


def test_what_somebody_cannot_read_is_found(show: Show) -> None:
    opened = show(GOOD + "<p style='color: #ccc; background: #fff'>pale</p>")
    with pytest.raises(AssertionError, match="color-contrast"):
        opened.assert_accessible()
