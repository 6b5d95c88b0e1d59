"""Without JavaScript every link, form and filter works, since pages are whole pages first."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.seed import Seeded
from tests.support import RunningNode

SECTIONS = ("Overview", "Functions", "Invocations", "Replicas", "Queues", "Scaling", "Benchmarks")


@pytest.mark.parametrize("width", [1440, 390])
def test_every_link_of_the_navigation_leads_to_its_page(
    node: RunningNode, seeded: Seeded, page_at: Open, width: int
) -> None:
    opened = page_at(node.url, script=False, width=width)
    page = opened.page
    for words in SECTIONS:
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=words).click()
        current = page.locator('header [aria-current="page"]')
        expect(current).to_have_text(words)
        expect(page.locator("h1")).to_have_count(1)
        opened.shot(f"-{words.lower()}")
        opened.assert_fits()


def test_a_function_is_invoked_by_its_form_and_the_result_is_there(
    node: RunningNode, seeded: Seeded, page_at: Open
) -> None:
    page = page_at(f"{node.url}/functions/fails", script=False).page
    page.get_by_label("text").fill('{"number": 123454321}')
    page.get_by_role("button", name=re.compile(r"^(Run|Invoke)")).first.click()
    expect(page.locator("body")).to_contain_text("123454321")
    expect(page.locator("body")).to_contain_text("succeeded")


def test_the_filter_of_the_list_is_a_form_whose_answer_is_a_url(
    node: RunningNode, seeded: Seeded, page_at: Open
) -> None:
    page = page_at(f"{node.url}/invocations", script=False).page
    form = page.locator('form[method="get"]').first
    form.locator('[name="function"]').fill("fails")
    form.get_by_role("button").first.click()
    assert "function=fails" in urlsplit(page.url).query
    main = page.locator("main tbody")
    expect(main).to_contain_text("fails")
    expect(main).not_to_contain_text("matmul")


def test_the_theme_is_chosen_by_a_form_and_kept(
    node: RunningNode, seeded: Seeded, page_at: Open
) -> None:
    page = page_at(f"{node.url}/queues", script=False).page
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert urlsplit(page.url).path == "/queues"


def test_the_numbers_of_every_chart_are_there_as_a_table(
    node: RunningNode, seeded: Seeded, page_at: Open
) -> None:
    page = page_at(node.url, script=False).page
    figures = page.locator("figure.chart")
    expect(figures.first).to_be_visible()
    for figure in figures.all():
        if figure.locator(".empty").count():
            continue
        figure.locator("details summary").last.click()
        expect(figure.locator("table").last).to_be_visible()
        expect(figure.locator("lumbre-chart")).to_be_hidden()
