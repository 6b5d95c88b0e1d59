"""Speedups, told as surely as they are known."""

from dataclasses import replace

import pytest

from console.speedup_chart import MOST_ITEMS, speedups
from runtime.speedup import Speedup

SURE = Speedup(
    ratio=12.3,
    low=9.1,
    high=15.0,
    n={"cpu": 40, "gpu": 30},
    pairs=20,
    basis="same inputs",
    median_run={"cpu": 0.123, "gpu": 0.01},
    simulated=False,
    enough=True,
)
UNSURE = replace(SURE, low=None, high=None, n={"cpu": 40, "gpu": 4}, enough=False)


def test_a_speedup_is_told_with_its_interval_and_what_it_rests_on() -> None:
    chart = speedups({"matmul": SURE}, able=True, gpu=True)
    assert chart["caption"] == (
        "matmul is 12.3× as fast on the GPU (95 % interval 9.10× to 15.0×), compared on the same"
        " inputs."
    )
    assert chart["data"]["reference"] == 1
    assert chart["data"]["items"] == [
        {
            "name": "matmul",
            "value": 12.3,
            "low": 9.1,
            "high": 15.0,
            "note": "n 40 · 30",
            "faded": False,
            "tone": "gpu",
        }
    ]
    assert chart["table"]["rows"][0][5] == "on the same inputs"


def test_a_speedup_of_few_runs_is_greyed_and_comes_behind_the_sure_ones() -> None:
    chart = speedups({"few": replace(UNSURE, ratio=99.0), "many": SURE}, able=True, gpu=True)
    items = chart["data"]["items"]
    assert [(item["name"], item["faded"]) for item in items] == [("many", False), ("few", True)]
    assert items[1]["note"] == "n 40 · 4, too few"
    alone = speedups({"few": UNSURE}, able=True, gpu=True)["caption"]
    assert alone == (
        "few is perhaps 12.3× as fast on the GPU: 4 runs on one side are fewer than 10, so it is"
        " greyed."
    )


def test_a_gpu_that_is_slower_and_one_that_makes_no_difference_are_said_to_be_so() -> None:
    slower = speedups({"f": replace(SURE, ratio=0.5, low=0.4, high=0.6)}, able=True, gpu=True)
    assert slower["caption"].startswith("f is 2.00× slower on the GPU")
    alike = speedups({"f": replace(SURE, ratio=1.1, low=0.9, high=1.3)}, able=True, gpu=True)
    assert alike["caption"].startswith("f is about as fast on the GPU as on the CPU")


def test_a_simulated_gpu_is_labelled_in_title_caption_and_table() -> None:
    fake = replace(SURE, simulated=True)
    chart = speedups({"f": fake}, able=True, gpu=True)
    assert chart["title"] == "Speedup: GPU (simulated) against CPU"
    assert "is a CPU in disguise" in chart["caption"]
    assert chart["table"]["rows"][0][-1] == "simulated"
    mixed = speedups({"f": fake, "g": SURE}, able=True, gpu=True)
    assert mixed["title"] == "Speedup: GPU against CPU"
    assert [item["note"] for item in mixed["data"]["items"]] == [
        "n 40 · 30, simulated",
        "n 40 · 30",
    ]


def test_of_very_many_functions_the_fastest_have_bars_and_all_are_in_the_table() -> None:
    found = {f"f{n}": replace(SURE, ratio=float(n)) for n in range(1, 51)}
    chart = speedups(found, able=True, gpu=True)
    assert [item["value"] for item in chart["data"]["items"]] == [
        50.0 - n for n in range(MOST_ITEMS)
    ]
    assert len(chart["table"]["rows"]) == 50


@pytest.mark.parametrize(
    ("able", "gpu", "why"),
    [
        (True, False, "CPU only: no GPU here."),
        (False, True, "No function can use a GPU"),
        (True, True, "No function has succeeded on both devices yet"),
    ],
)
def test_without_speedups_it_says_what_is_missing(able: bool, gpu: bool, why: str) -> None:
    assert speedups({}, able=able, gpu=gpu)["empty"].startswith(why)
