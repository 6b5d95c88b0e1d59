"""The charts of what ended: their numbers add up, and their sentences say what is to be seen."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import charts, render
from console.digest import digest
from console.replica_chart import replicas
from runtime.history import MOST_BUCKETS, Window
from runtime.rollup import Cell, bin_bounds, bin_of
from tests.console.windows import START, few, window, windows

Make = Callable[[Window], charts.Chart]

EACH: list[Make] = [
    lambda w: charts.throughput(digest(w), "5 min", _end(w)),
    lambda w: charts.percentiles(digest(w), "5 min"),
    lambda w: charts.histogram(digest(w), "5 min"),
    lambda w: charts.distribution(digest(w), "5 min"),
    lambda w: replicas(digest(w), "5 min"),
]


def _end(window: Window) -> float:
    return window.start + window.width * window.count


def _ended(window: Window) -> int:
    return sum(sum(cell.statuses.values()) for row in window.cells.values() for cell in row if cell)


def _succeeded(window: Window) -> int:
    return sum(sum(cell.total.values()) for row in window.cells.values() for cell in row if cell)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float):
        yield value


def _rows(chart: charts.Chart) -> list[dict[str, Any]]:
    data = chart["data"]
    return data.get("series") or [row for panel in data["panels"] for row in panel["series"]]


@pytest.mark.parametrize("make", EACH)
@few
@given(given_window=windows())
def test_a_chart_always_can_be_drawn_and_told(make: Make, given_window: Window) -> None:
    chart = make(given_window)
    if "empty" in chart:
        assert chart["empty"].endswith(".")
        return
    assert chart["caption"].endswith(".")
    assert all(math.isfinite(number) for number in _numbers(chart["data"]))
    assert len(orjson.dumps(chart)) < 300_000
    columns = len(chart["table"]["columns"])
    assert all(len(row) == columns for row in chart["table"]["rows"])
    assert len(chart["table"]["rows"]) <= charts.MOST_ROWS
    html = str(render.environment().globals["ui"].figure("key", chart))  # type: ignore[attr-defined]
    assert "<lumbre-chart" in html and "style=" not in html


@few
@given(windows())
def test_series_over_time_always_have_a_value_for_each_of_at_most_300_points(
    given_window: Window,
) -> None:
    for make in (EACH[0], EACH[1], EACH[4]):
        chart = make(given_window)
        if "empty" not in chart:
            points = chart["data"]["points"]
            assert len(points) <= MOST_BUCKETS
            assert points == sorted(set(points))
            assert all(len(row["values"]) == len(points) for row in _rows(chart))


@few
@given(windows())
def test_throughput_always_counts_everything_that_ended(given_window: Window) -> None:
    chart = charts.throughput(digest(given_window), "5 min", _end(given_window))
    if "empty" in chart:
        assert _ended(given_window) == 0
        return
    rates = sum(sum(row["values"]) for row in _rows(chart))
    assert rates * given_window.width == pytest.approx(_ended(given_window))


@few
@given(windows())
def test_the_distribution_always_adds_up_however_many_bars_it_has(given_window: Window) -> None:
    chart = charts.distribution(digest(given_window), "5 min")
    if "empty" in chart:
        assert _ended(given_window) == 0
        return
    items = chart["data"]["items"]
    assert len(items) <= charts.MOST_ITEMS + 1
    assert sum(part["value"] for item in items for part in item["parts"]) == _ended(given_window)


@few
@given(windows())
def test_the_histogram_always_holds_every_success_between_rising_edges(
    given_window: Window,
) -> None:
    chart = charts.histogram(digest(given_window), "5 min")
    if "empty" in chart:
        assert _succeeded(given_window) == 0
        return
    edges, series = chart["data"]["edges"], chart["data"]["series"]
    assert edges == sorted(set(edges)) and edges[0] > 0
    assert all(len(row["counts"]) == len(edges) - 1 <= charts.MOST_BARS for row in series)
    assert sum(sum(row["counts"]) for row in series) == _succeeded(given_window)
    assert all(edges[0] <= mark["at"] <= edges[-1] * 1.000001 for mark in chart["data"]["marks"])


@few
@given(windows())
def test_a_percentile_is_always_within_the_times_it_is_of(given_window: Window) -> None:
    chart = charts.percentiles(digest(given_window), "5 min")
    if "empty" in chart:
        return
    rows = _rows(chart)
    for device in ("cpu", "gpu"):
        half, most = ([row["values"] for row in rows if row["tone"] == device] or [[], []])[:2]
        for place, (p50, p95) in enumerate(zip(half, most, strict=True)):
            bins = [
                bin
                for key, cells in given_window.cells.items()
                if key[1] == device and (cell := cells[place])
                for bin in cell.total
            ]
            if not bins:
                assert p50 is None and p95 is None
            else:
                low, high = bin_bounds(min(bins))[0], bin_bounds(max(bins))[1]
                assert low <= p50 <= p95 <= high * 1.000001


@few
@given(st.integers(0, 4), st.floats(0.01, 5))
def test_a_bucket_that_is_not_over_never_shows_a_rate_that_falls_for_that(
    place: int, passed: float
) -> None:
    steady: list[Cell | None] = [Cell(statuses={"succeeded": 50}) for _ in range(4)]
    steady.append(Cell(statuses={"succeeded": round(10 * passed)}))
    chart = charts.throughput(
        digest(window({("f", "cpu"): steady}, count=5)), "5 min", START + 20 + passed
    )
    values = _rows(chart)[0]["values"]
    assert all(value == pytest.approx(10, rel=0.5) for value in values)
    assert len(values) == (5 if passed >= 5 * charts.HARDLY_BEGUN else 4)


def test_an_empty_chart_says_why_it_is_empty() -> None:
    nothing = window()
    assert charts.throughput(digest(nothing), "5 min", START)["empty"] == (
        "No invocation ended in the last 5 min."
    )
    assert "succeeded in the last 1 h" in charts.percentiles(digest(nothing), "1 h")["empty"]
    assert "succeeded in the last 24 h" in charts.histogram(digest(nothing), "24 h")["empty"]
    assert "ended in the last 5 min" in charts.distribution(digest(nothing), "5 min")["empty"]


def test_the_caption_of_times_says_how_they_changed() -> None:
    slow, fast = Cell(total={bin_of(0.9): 30}), Cell(total={bin_of(0.12): 30})
    caption = charts.percentiles(digest(window({("f", "cpu"): [slow, slow, fast, fast]})), "5 min")[
        "caption"
    ]
    assert "p95 on the CPU fell from 9" in caption
    assert " to 12" in caption
    steady = charts.percentiles(digest(window({("f", "cpu"): [slow] * 4})), "5 min")["caption"]
    assert "fell" not in steady and "rose" not in steady


def test_times_are_those_of_each_device_and_a_gap_is_one() -> None:
    cells: list[Cell | None] = [Cell(total={bin_of(0.5): 4}), None, Cell(total={bin_of(0.5): 4})]
    rows = _rows(charts.percentiles(digest(window({("f", "gpu"): cells})), "5 min"))
    assert [row["name"] for row in rows] == ["GPU p50", "GPU p95"]
    assert [value is None for value in rows[0]["values"]] == [False, True, False, True]


@pytest.mark.parametrize(
    ("simulated", "name"),
    [(0, "GPU"), (5, "GPU (simulated)"), (2, "GPU (partly simulated)")],
)
def test_a_simulated_gpu_is_named_so_in_every_chart(simulated: int, name: str) -> None:
    cell = Cell({"succeeded": 5}, {bin_of(0.1): 5}, simulated=simulated, busy=1)
    given_window = window({("f", "gpu"): [cell]})
    assert _rows(charts.percentiles(digest(given_window), "5 min"))[0]["name"] == f"{name} p50"
    assert _rows(charts.histogram(digest(given_window), "5 min"))[0]["name"] == name
    assert f"on the {name} " in charts.distribution(digest(given_window), "5 min")["caption"]
    assert name in [row["name"] for row in _rows(replicas(digest(given_window), "5 min"))]


def test_statuses_keep_their_order_and_those_that_are_not_there_take_no_room() -> None:
    cell = Cell(statuses={"dead": 1, "succeeded": 2, "timed_out": 3})
    chart = charts.throughput(digest(window({("f", "cpu"): [cell]})), "5 min", START + 20)
    assert [row["name"] for row in _rows(chart)] == ["succeeded", "timed out", "dead"]
    assert chart["table"]["columns"] == ["from", "succeeded", "timed out", "dead"]
    assert chart["table"]["rows"] == [["2023-11-14T22:20:00Z", "2", "3", "1"]]
    assert chart["caption"] == "6 invocations ended in the last 5 min; 33.3 % succeeded."


def test_the_smallest_bars_of_a_distribution_are_one() -> None:
    cells: dict[Any, list[Cell | None]] = {
        (f"f{n:02}", "cpu"): [Cell(statuses={"succeeded": n})] for n in range(1, 31)
    }
    items = charts.distribution(digest(window(cells)), "5 min")["data"]["items"]
    assert items[0]["name"] == "CPU f30"
    assert items[-1]["name"] == "20 others"
    assert items[-1]["parts"] == [
        {"name": "succeeded", "value": sum(range(1, 21)), "tone": "succeeded"}
    ]
