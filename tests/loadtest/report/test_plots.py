"""The plots of a report."""

import re
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree

import pytest

from loadtest.outcome import Observed, Outcome
from loadtest.report.canvas import COLOURS, MARKERS
from loadtest.report.page import CSS
from loadtest.report.plots import PLOTS, draw
from loadtest.report.summary import Summary
from tests.loadtest import outcomes

MIXED = Summary(outcomes.mixed())


def long() -> Outcome:
    """Eight hours, observed twice a second, with forty functions."""
    second = outcomes.mixed().series[5]
    names = [f"f{n}" for n in range(40)]
    return replace(
        outcomes.mixed(),
        series=tuple(replace(second, at=at) for at in range(8 * 3600)),
        observed=tuple(
            Observed(at * 360, name, "gpu", at % 7, 1, 0, 0, 1, 1, 0)
            for at in range(80)
            for name in names
        ),
    )


@cache
def drawn_once(name: str) -> str:
    return draw(name, MIXED)


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_well_formed_and_the_same_each_time(name: str) -> None:
    drawn = drawn_once(name)
    root = ElementTree.fromstring(drawn)
    assert root.tag.endswith("svg") and root.get("aria-label") == PLOTS[name][0]
    assert drawn == draw(name, MIXED)


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_loads_nothing_and_leaves_colours_and_fonts_to_the_page(name: str) -> None:
    drawn = drawn_once(name)
    assert not re.search(r"font-family|<script|<metadata|<style|@import", drawn)
    assert set(re.findall(r"https?://[^\"]*", drawn)) == {"http://www.w3.org/2000/svg"}
    assert not any(marker in drawn for marker in MARKERS.values())
    assert (
        set(re.findall(r"#[0-9a-f]{6}\b(?!\w)", re.sub(r"(href=\"|url\()#\S+", "", drawn))) == set()
    )


def test_ids_of_several_plots_do_not_meet_and_every_reference_is_kept() -> None:
    drawn = [drawn_once(name) for name in PLOTS]
    ids = [each for text in drawn for each in re.findall(r'\bid="([^"]+)"', text)]
    assert len(ids) == len(set(ids))
    for text in drawn:
        asked = {a or b for a, b in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)}
        assert asked <= set(ids)


def test_the_page_has_every_colour_for_light_and_for_dark() -> None:
    light, dark = CSS.read_text().split("@media (prefers-color-scheme: dark)")
    for name in COLOURS:
        assert f"--{name}: #" in light and f"--{name}: #" in dark.split("@media")[0], name


def test_a_gpu_is_hatched_and_dashed_and_a_cpu_is_plain() -> None:
    drawn = drawn_once("histogram")
    assert "<pattern" in drawn and "stroke-dasharray" in drawn
    cpu = replace(outcomes.mixed(), groups=outcomes.brief().groups)
    drawn = draw("histogram", Summary(cpu))
    assert "<pattern" not in drawn and "stroke-dasharray" not in drawn


def test_a_long_load_makes_no_long_page() -> None:
    summary = Summary(long())
    assert all(len(draw(name, summary)) < 200_000 for name in ("latency", "throughput", "replicas"))


@pytest.mark.parametrize("make", [outcomes.brief, outcomes.hostile])
def test_an_unusual_outcome_is_drawn(make: object) -> None:
    assert callable(make)
    summary = Summary(make())
    names = [name for name in PLOTS if name != "colds" or summary.outcome.colds]
    assert all(draw(name, summary).endswith("</svg>") for name in names)
