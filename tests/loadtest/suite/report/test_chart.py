"""The picture: what its panels show, for every kind of run."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from loadtest.suite.report import chart, panels
from loadtest.suite.results import Results
from loadtest.suite.summary import Summary, summarize
from runtime import estimate
from tests.loadtest.suite import runs

PNG = b"\x89PNG\r\n\x1a\n"
ODD = "cost $5 $\\frac$ 火"  # no formula; nor has the font every letter
TWO = runs.FOUR[:2]
Panel = Callable[[Axes, Summary], None]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 100)


def nothing() -> Results:
    return replace(runs.made(), cells=(), colds=(), parities=(), ceilings=())


RUNS: dict[str, Callable[[], Results]] = {
    "with a GPU": runs.made,
    "simulated": lambda: runs.made(gpu="simulated", cases=TWO),
    "without a GPU": lambda: runs.made(gpu=None, cases=TWO),
    "one case": lambda: runs.made(cases=runs.FOUR[2:3]),
    "an odd name": lambda: runs.made(cases=(replace(runs.FOUR[0], case=ODD),)),
    "eight cases": lambda: runs.made(cases=runs.EIGHT),
    "too few calls": lambda: runs.made(samples=2, cases=TWO),
    "interrupted": lambda: runs.interrupted(runs.made(cases=TWO), 5),
    "no ceilings": lambda: replace(runs.made(gpu=None, cases=TWO), ceilings=()),
    "all calls of a case failed": lambda: runs.all_failing(
        runs.made(cases=TWO), "matmul bfloat16", "gpu", "no"
    ),
    "nothing measured": nothing,
}


@cache
def picture(name: str) -> bytes:
    return chart.picture(summarize(RUNS[name]()))


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_run_has_a_picture_of_1600_pixels(name: str) -> None:
    found = picture(name)
    assert found.startswith(PNG)
    assert int.from_bytes(found[16:20], "big") == 1600
    assert 300 < int.from_bytes(found[20:24], "big") < 4000


def test_the_same_results_give_the_same_picture() -> None:
    assert chart.picture(summarize(RUNS["one case"]())) == picture("one case")


def drawn(panel: Panel, results: Results) -> Axes:
    axes = Figure().subplots()
    panel(axes, summarize(results))
    return axes


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def seconds(axes: Axes, summary: Summary) -> None:
    panels.seconds_over_size(axes, summary.cases[0], summary)


def test_seconds_are_drawn_for_cpu_gpu_and_gpu_with_transfers() -> None:
    axes = drawn(seconds, runs.made())
    summary = summarize(runs.made())
    bars = [found for found in axes.containers if isinstance(found, ErrorbarContainer)]
    lines = [found.lines[0] for found in bars]
    assert [line.get_linestyle() for line in lines] == ["-", "--", ":"]
    one = summary.cases[0].sizes[-1]
    assert one.cpu and one.gpu and one.cpu.seconds and one.gpu.seconds and one.gpu.total
    ends = [np.asarray(line.get_ydata())[-1] for line in lines]
    assert ends == [one.cpu.seconds.median, one.gpu.seconds.median, one.gpu.total.median]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_without_a_gpu_no_gpu_is_drawn_and_none_is_in_the_legend() -> None:
    axes = drawn(seconds, runs.made(gpu=None))
    assert len(axes.containers) == 1
    labels = [handle.get_label() for handle in panels.legend(summarize(runs.made(gpu=None)))]
    assert labels == ["CPU"]


def test_a_simulated_gpu_is_labelled_in_every_legend_and_title() -> None:
    results = runs.made(gpu="simulated")
    labels = [str(handle.get_label()) for handle in panels.legend(summarize(results))]
    assert labels[1:] == ["GPU (simulated)", "GPU (simulated) with transfers in and out"]
    assert drawn(panels.speedups, results).get_title(loc="left").startswith("GPU (simulated)")


def test_a_size_whose_results_differ_is_crossed_out() -> None:
    results = runs.parity_failing(runs.made(), "matmul bfloat16", 1024)
    assert words(drawn(seconds, results)) == ["results differ"]
    assert words(drawn(seconds, runs.made())) == []


def test_bars_say_their_number_and_how_many_calls_it_is_of() -> None:
    told = words(drawn(panels.speedups, runs.made()))
    best = summarize(runs.made()).cases[0].best
    assert best and best.speedup
    assert any(text.endswith(" ×, 24 calls") for text in told)
    assert len(told) == 2 * len(runs.FOUR)


def test_an_interval_without_end_neither_hides_the_bars_nor_their_numbers() -> None:
    results = runs.made(cases=runs.FOUR[:1], samples=7)
    last = results.cells[-1]  # the GPU's largest size, with one call that took for ever
    slow = (*last.samples[:-2], *(replace(s, seconds=1e6) for s in last.samples[-2:]))
    wild = replace(results, cells=(*results.cells[:-1], replace(last, samples=slow[:7])))
    axes = drawn(panels.speedups, wild)
    low, high = axes.get_xlim()
    assert high / low < 1e5
    for text in axes.texts:
        assert low < text.xy[0] < high  # type: ignore[attr-defined]


def test_where_there_is_no_speedup_the_bar_says_why() -> None:
    results = runs.made(cases=runs.FOUR[:1])
    for size in runs.FOUR[0].sizes:
        results = runs.parity_failing(results, "matmul bfloat16", size)
    assert words(drawn(panels.speedups, results)) == ["no speedup: results differ"]


def test_shares_of_ceilings_are_named() -> None:
    told = words(drawn(panels.ceilings, runs.made(gpu=None)))
    assert len(told) == len(runs.FOUR)
    assert told[0].endswith("TFLOP/s")
    assert "%" in told[0]


@pytest.mark.parametrize(
    ("cases", "wide"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 3), (6, 3), (7, 4), (8, 4), (9, 3)]
)
def test_panels_stand_in_rows_that_are_well_filled(cases: int, wide: int) -> None:
    assert chart.columns(cases) == wide


def test_labels_of_sizes_that_would_touch_are_left_out() -> None:
    assert panels._apart([64, 256, 1024, 4096, 8192]) == ["64", "256", "1,024", "", "8,192"]
    assert [panels.compact(size) for size in (64, 10_000, 10_000_000, 65_536)] == [
        "64",
        "10k",
        "10M",
        "65,536",
    ]
