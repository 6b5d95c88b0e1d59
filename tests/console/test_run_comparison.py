"""Two runs side by side: what changed beyond noise, and what must be known first."""

from pathlib import Path

from console.run_comparison import FARTHEST, MOST_BARS, comparison
from tests.console.benching import kept
from tests.loadtest.suite.runs import FOUR, made

A, B = "20261123-100000-000a", "20261123-110000-000b"


def test_what_became_slower_is_called_so_in_the_table_and_the_chart(tmp_path: Path) -> None:
    before, after = (
        kept(tmp_path, A, made(cases=FOUR[:2])),
        kept(tmp_path, B, made(cases=FOUR[:2], seed=2, slower=2.0)),
    )
    found = comparison(before, after)
    works = [c for c in found["changes"] if c["kind"] == "the work itself"]
    assert {change["verdict"] for change in works} == {"slower"}
    assert all(1.02 < c["low"] <= c["ratio"] <= c["high"] for c in works)
    items = found["chart"]["data"]["items"]
    assert len(items) == MOST_BARS < len(works) and {item["tone"] for item in items} == {"bad"}
    assert found["markdown"].startswith("# What changed")
    assert "slower" in found["headline"] and "by chance" in found["caution"]


def test_whiskers_never_push_the_bars_out_of_the_chart(tmp_path: Path) -> None:
    before, after = (
        kept(tmp_path, A, made(samples=7, cases=FOUR[:2])),
        kept(tmp_path, B, made(samples=7, seed=3, cases=FOUR[:2])),
    )
    items = comparison(before, after)["chart"]["data"]["items"]
    most = max(item["value"] for item in items)
    assert all(item["high"] <= FARTHEST * most for item in items)


def test_a_simulated_gpu_is_marked(tmp_path: Path) -> None:
    before = kept(tmp_path, A, made(gpu="simulated", cases=FOUR[:2]))
    after = kept(tmp_path, B, made(gpu="simulated", seed=2, cases=FOUR[:2]))
    found = comparison(before, after)
    assert found["simulated"] == ["gpu"]
    names = [item["name"] for item in found["chart"]["data"]["items"]]
    assert {name[-4:] for name in names if "GPU" in name} == {"GPU*"}
    assert "simulated GPU" in found["chart"]["caption"]


def test_what_only_one_run_has_is_listed_and_not_compared(tmp_path: Path) -> None:
    before, after = (
        kept(tmp_path, A, made(cases=FOUR[:2])),
        kept(tmp_path, B, made(gpu=None, cases=FOUR[:1])),
    )
    found = comparison(before, after)
    assert found["only_before"] and not found["only_after"]
    assert {change["device"] for change in found["changes"]} == {"cpu"}
    assert any("Only the first run has a GPU" in warning for warning in found["warnings"])
