"""Functions as somebody runs them: by what the pages offer, from the first click to the failure."""

import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, Request, expect

from tests.browser.conftest import Open
from tests.browser.opened import HERE
from tests.support import ROOT, NodeFactory, RunningNode, eventually

FEW = 3  # clicks from the overview to a result with its waterfall
SIDE = 48  # pixels of the picture that is uploaded
SOON = 30_000  # milliseconds for a replica to start and run something short, on a busy machine
POINTS = "(id) => JSON.parse(document.getElementById(id).querySelector('script').textContent)"
WIDTHS = pytest.mark.parametrize("width", [1440, 390])


@pytest.fixture
def picture() -> bytes:
    """A PNG with an edge in its middle."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    image.paste("black", (SIDE // 2, 0, SIDE, SIDE))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


# ── the first run ─────────────────────────────────────────────────────────────────────────────


def test_in_three_clicks_from_an_untouched_node_a_function_was_run_and_its_waterfall_is_read(
    start_node: NodeFactory, page_at: Open
) -> None:
    node = start_node(ROOT / "functions", LUMBRE_SIMULATE_GPU="1")
    opened = page_at(node.url, name="first-run")
    page = opened.page
    clicks = 0
    expect(page.get_by_role("heading", name="Run your first function")).to_be_visible()
    opened.shot("-1-welcome")
    page.get_by_role("link", name="Run matmul").click()
    clicks += 1
    page.get_by_role("button", name="Run", exact=True).click()
    clicks += 1
    result = page.locator("section.result")
    expect(result.locator(".status")).to_have_text("succeeded", timeout=SOON)
    expect(result).to_contain_text("gflops")
    said = result.locator(".waterfall .said")
    expect(said).to_have_text(re.compile(r"% of .+ was (a cold start|the function running)"))
    expect(said).to_be_in_viewport()
    _assert_adds_up(result.locator(".waterfall"))
    assert clicks <= FEW
    opened.shot("-2-result")
    opened.assert_still()
    opened.assert_fits()


# ── the form ──────────────────────────────────────────────────────────────────────────────────


def test_other_values_give_their_result_and_the_curl_that_is_shown_gives_the_same(
    node: RunningNode, page_at: Open, tmp_path: Path
) -> None:
    opened = page_at(f"{node.url}/functions/matmul", name="run-values")
    page = opened.page
    _field(page, "n").fill("33")
    _field(page, "seed").fill("7")
    _field(page, "dtype").select_option(label="float16")
    page.get_by_role("radio", name="CPU").check()
    found = _run(page)
    assert (found["n"], found["dtype"], found["device"]) == (33, "float16", "cpu")
    expect(_field(page, "seed")).to_have_value("7")
    expect(page.locator(".waterfall .row").first).to_have_text(re.compile("queued"))
    opened.shot()

    command = page.locator("#invoke .code code").inner_text()
    assert command.startswith("curl ")
    shell = ["sh", "-euc", command]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    same = json.loads(done.stdout)
    measured = {"seconds", "gflops"}
    assert {k: v for k, v in same.items() if k not in measured} == {
        k: v for k, v in found.items() if k not in measured
    }


def test_a_fault_is_told_at_its_field_and_what_was_typed_stays(
    node: RunningNode, page_at: Open
) -> None:
    opened = page_at(f"{node.url}/functions/matmul", name="run-fault")
    opened.expected |= {422}
    page = opened.page
    n = _field(page, "n")
    n.fill("-3")
    _field(page, "seed").fill("11")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(n).to_be_focused()  # the browser itself tells, and sends nothing
    assert n.evaluate("field => field.validity.rangeUnderflow")
    expect(page.locator(".fault")).to_have_count(0)

    page.locator("form.invoke").evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("1 field needs another value. Nothing ran.")
    expect(page.locator(".field[data-faulty] .fault")).to_contain_text(
        "-3 is less than the minimum of 1"
    )
    expect(_field(page, "n")).to_have_value("-3")
    expect(_field(page, "n")).to_have_attribute("aria-invalid", "true")
    expect(_field(page, "n")).to_have_accessible_description(re.compile("minimum of 1"))
    expect(_field(page, "seed")).to_have_value("11")
    expect(page.locator(".fault")).to_have_count(1)
    opened.shot()
    opened.assert_accessible()

    _field(page, "n").fill("8")
    assert _run(page)["n"] == 8


def test_a_picture_that_is_uploaded_is_there_filtered_and_on_its_page_as_it_was(
    node: RunningNode, page_at: Open, picture: bytes
) -> None:
    opened = page_at(f"{node.url}/functions/image_filter", name="run-picture")
    page = opened.page
    sent = FilePayload(name="edge.png", mimeType="image/png", buffer=picture)
    _field(page, "image").set_input_files(sent)
    _field(page, "filter").select_option(label="sobel")
    page.get_by_role("button", name="Run", exact=True).click()
    filtered = page.locator("section.result img.result")
    _assert_drawn(filtered)
    address = filtered.get_attribute("src")
    assert address
    colours = Image.open(io.BytesIO(page.request.get(f"{node.url}{address}").body())).convert("L")
    assert colours.getextrema() == (0, 255)  # nothing but the edge is bright
    assert colours.getpixel((2, 2)) == 0 and colours.getpixel((SIDE // 2, 9)) == 255
    opened.shot()

    page.get_by_role("link", name="All about this invocation").click()
    page.wait_for_load_state()
    _assert_drawn(page.locator("section.output img.result"))
    before = page.locator("section.input img.result")
    _assert_drawn(before)
    kept = page.request.get(f"{node.url}{before.get_attribute('src')}").body()
    assert kept == picture
    opened.shot("-page")
    opened.assert_fits()


def test_run_on_both_shows_both_and_a_speedup_that_says_it_is_simulated(
    node: RunningNode, page_at: Open
) -> None:
    opened = page_at(f"{node.url}/functions/matmul", name="run-both")
    page = opened.page
    _field(page, "n").fill("96")
    page.get_by_role("button", name="Run on both").click()
    results = page.locator("section.result")
    expect(results).to_have_count(2)
    told = page.locator("#result")
    expect(told).to_contain_text(re.compile(r"was [\d.]+ ?× as fast as"), timeout=SOON)
    expect(told).to_contain_text("simulated")
    expect(told).to_contain_text("The same on both, to within a thousandth:")
    for device, section in zip(("CPU", "GPU"), results.all(), strict=True):
        expect(section.locator(".status")).to_have_text("succeeded")
        expect(section.locator(".device")).to_have_text(device)
        expect(section.locator(".mark", has_text="simulated")).to_have_count(int(device == "GPU"))
        expect(section).to_contain_text("checksum")
        _assert_adds_up(section.locator(".waterfall"))
    opened.shot()
    opened.assert_fits()


def test_run_again_is_a_new_one_with_the_same_input_and_edit_and_run_fills_the_form(
    node: RunningNode, page_at: Open
) -> None:
    opened = page_at(f"{node.url}/functions/matmul", name="run-again")
    page = opened.page
    _field(page, "n").fill("21")
    first = _run(page)
    page.get_by_role("link", name="All about this invocation").click()
    page.wait_for_url("**/invocations/*")
    earlier = page.url
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: "/invocations/" in url and url != earlier)
    expect(page.locator("#live .status")).to_have_text("succeeded", timeout=SOON)
    expect(page.locator("section.record")).to_contain_text("Replay of")
    again = json.loads(page.locator("section.output .code code").inner_text())
    assert again["checksum"] == first["checksum"]
    opened.shot()

    page.get_by_role("link", name="Edit and run").click()
    expect(_field(page, "n")).to_have_value("21")
    expect(page.locator("section.result")).to_have_count(0)  # nothing ran by that
    _field(page, "n").fill("22")
    assert _run(page)["n"] == 22


# ── what takes longer ─────────────────────────────────────────────────────────────────────────


def test_a_training_is_watched_its_curve_grows_and_the_page_does_not_move(
    node: RunningNode, page_at: Open
) -> None:
    opened = page_at(f"{node.url}/functions/neural_network", name="watch-training")
    page = opened.page
    _field(page, "epochs").fill("250")
    page.get_by_role("radio", name="CPU").check()
    page.get_by_role("button", name="Run", exact=True).click()
    streams = _streams(page)
    page.get_by_role("link", name="All about this invocation").click()
    page.wait_for_url("**/invocations/*")
    first = _grown(page, "curve-loss", 2)
    opened.shot("-1-running")
    later = _grown(page, "curve-loss", len(first["x"]) + 10)
    assert later["y"][0] == first["y"][0] and later["y"][-1] < first["y"][0]
    expect(page.locator("section.output")).to_contain_text(re.compile(r"\d+ % done"))
    _over(page, "succeeded")
    expect(page.locator("section.output")).to_contain_text('"samples_per_second"')
    curve = page.evaluate(POINTS, "output-curve-1")["series"][0]
    assert len(curve["x"]) == 250
    expect(page.locator(".waterfall .said")).to_contain_text("mostly compute")
    opened.settle()
    opened.shot("-2-over")
    assert streams == [f"{page.url}/events"]
    opened.assert_still()
    opened.assert_fits()
    opened.assert_accessible()


@WIDTHS
def test_who_reads_what_comes_out_reads_on_while_it_comes(
    node: RunningNode, page_at: Open, width: int
) -> None:
    id = _send(node, "steps", {"count": 12, "pause": 0.15})
    opened = page_at(f"{node.url}/invocations/{id}", width=width, name=f"watch-steps-{width}")
    page = opened.page
    page.locator("#output-title").evaluate("title => title.scrollIntoView()")
    _grown(page, "curve-loss", 4)
    expect(page.locator("[data-log]")).to_contain_text("step 4 of 12")
    opened.shot("-running")
    _over(page, "succeeded")
    expect(page.locator("[data-log]")).to_contain_text("step 12 of 12")
    opened.settle()
    opened.shot("-over")
    opened.assert_still()
    opened.assert_fits()


def test_cancel_stops_what_runs(node: RunningNode, page_at: Open) -> None:
    id = _send(node, "steps", {"count": 1000, "pause": 0.1})
    opened = page_at(f"{node.url}/invocations/{id}", name="cancel")
    page = opened.page
    expect(page.locator("#live .status")).to_have_text("running", timeout=SOON)
    page.get_by_role("button", name="Cancel").click()
    _over(page, "cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.get_by_role("heading", name="Why it ended")).to_be_visible()
    assert node.client.get(f"/invocations/{id}").json()["status"] == "cancelled"
    opened.settle()
    opened.shot()


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────


def test_a_failure_is_followed_from_the_overview_to_the_line_that_raised_it(
    node: RunningNode, page_at: Open
) -> None:
    opened = page_at(f"{node.url}/functions/fails", name="follow-failure")
    page = opened.page
    _field(page, "text").fill("{number: 1}")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("section.result .status")).to_have_text("failed", timeout=SOON)
    expect(page.locator("section.result")).to_contain_text("JSONDecodeError")
    id = page.url.partition("ran=")[2].partition("#")[0]

    page.get_by_role("link", name="Overview").click()
    row = page.locator(f"#failure-{id}")
    expect(row).to_contain_text("JSONDecodeError")
    opened.shot("-1-overview")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    trace = page.locator("section.output .traceback")
    raised = trace.locator("pre", has_text='return int(json.loads(text)["number"])')
    expect(raised).to_be_visible()
    expect(raised).to_contain_text(str(HERE / "functions" / "fails.py"))
    folded = trace.locator("details").first
    expect(folded.locator("pre")).to_be_hidden()
    folded.locator("summary").click()
    expect(folded.locator("pre")).to_be_visible()
    opened.shot("-2-traceback")
    opened.assert_fits()
    opened.assert_accessible()


# ── what a story is made of ───────────────────────────────────────────────────────────────────


def _field(page: Page, name: str) -> Locator:
    return page.locator("form.invoke").get_by_label(name, exact=True)


def _run(page: Page) -> dict[str, Any]:
    """Press Run and read the JSON that came out."""
    before = page.url
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(lambda url: "ran=" in url and url != before)
    result = page.locator("section.result")
    expect(result.locator(".status")).to_have_text("succeeded", timeout=SOON)
    found: dict[str, Any] = json.loads(result.locator(".outcome .code code").inner_text())
    return found


def _send(node: RunningNode, function: str, body: dict[str, Any]) -> str:
    asynchronous = {"Prefer": "respond-async"}
    answer = node.client.post(f"/invoke/{function}", json=body, headers=asynchronous)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _streams(page: Page) -> list[str]:
    """The streams that pages open from now on."""
    found: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/events"):
            found.append(request.url)

    page.on("request", note)
    return found


def _grown(page: Page, chart: str, least: int) -> dict[str, Any]:
    """The curve of a chart once it has so many points, from the JSON that it is drawn of."""
    many = f"(id) => ({POINTS})(id).series[0].x.length >= {least}"
    page.wait_for_selector(f"#{chart}", timeout=SOON)
    page.wait_for_function(many, arg=chart, timeout=SOON)
    found: dict[str, Any] = page.evaluate(POINTS, chart)["series"][0]
    return found


def _over(page: Page, status: str) -> None:
    page.wait_for_selector("#live[data-over]", timeout=SOON)
    expect(page.locator("#live .status")).to_have_text(status)
    expect(page.locator("#follow")).to_have_count(0)


def _assert_drawn(image: Locator) -> None:
    """It is a picture that the browser could read."""
    expect(image).to_be_visible(timeout=SOON)
    eventually(lambda: image.evaluate("image => image.naturalWidth") == SIDE)


def _assert_adds_up(waterfall: Locator) -> None:
    """Its parts, as they are told, are what it took in all, as far as they are rounded."""
    rows = waterfall.locator("ol > .row:not(.phase)")
    told = [_seconds(text) for text in rows.locator("> .long").all_inner_texts()]
    assert len(told) >= 4 and told[-1] > 0
    assert sum(told[:-1]) == pytest.approx(told[-1], rel=0.02)


def _seconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}[unit]
