"""The chart of speedups: how many times faster each function is on a GPU, and how sure that is.

A pure function; what a speedup rests on is told with it, and one that rests on little is greyed.
"""

from collections.abc import Mapping
from typing import Any

from console import numbers
from console.charts import Chart
from runtime.speedup import ENOUGH, Speedup

MOST_ITEMS = 12  # bars: the surest and largest
BASES = {
    "same inputs": "on the same inputs",
    "like cost": "at like cost",
    "any inputs": "whatever their inputs were",
}


def speedups(found: Mapping[str, Speedup], *, able: bool, gpu: bool) -> Chart:
    """The speedup of each function.

    `able` says whether any function can use a GPU, `gpu` whether there is a GPU pool here.
    """
    if not found:
        return {"title": _title(""), "caption": "", "empty": _why_none(able, gpu)}
    simulated = [speedup.simulated for speedup in found.values()]
    names = sorted(found, key=lambda name: (not found[name].enough, -found[name].ratio, name))
    caption = _said(names[0], found[names[0]], len(found))
    if any(simulated):
        caption += " Simulated: that GPU is a CPU in disguise, and says nothing of a GPU."
    return {
        "kind": "bars",
        "title": _title(" (simulated)" if all(simulated) else ""),
        "caption": caption,
        "data": {
            "unit": "ratio",
            "items": [_item(name, found[name], all(simulated)) for name in names[:MOST_ITEMS]],
            "reference": 1,
        },
        "table": {
            "columns": [
                "function",
                "speedup",
                "95 % interval",
                "n CPU",
                "n GPU",
                "compared",
                "median CPU",
                "median GPU",
                "GPU",
            ],
            "rows": [_row(name, found[name]) for name in names],
        },
    }


def _title(what: str) -> str:
    return f"Speedup: GPU{what} against CPU"


def _why_none(able: bool, gpu: bool) -> str:
    if not gpu:
        return (
            "CPU only: no GPU here. A speedup needs a GPU replica; to see how it would look, start"
            " with --simulate-gpu."
        )
    if not able:
        return 'No function can use a GPU: one that can says devices=("cpu", "gpu").'
    return "No function has succeeded on both devices yet: run one on both, from its page."


def _said(name: str, speedup: Speedup, count: int) -> str:
    ratio = speedup.ratio
    interval = _interval(speedup)
    if speedup.enough and speedup.low is not None and speedup.low <= 1 <= (speedup.high or 0):
        return (
            f"{name} is about as fast on the GPU as on the CPU ({numbers.ratio(ratio)}, 95 %"
            f" interval {interval}), compared {BASES[speedup.basis]}."
        )
    how = f"{numbers.ratio(ratio)} as fast" if ratio >= 1 else f"{numbers.ratio(1 / ratio)} slower"
    if not speedup.enough:
        short = min(speedup.n.values())
        return (
            f"{name} is perhaps {how} on the GPU: {short:,} runs on one side are fewer than"
            f" {ENOUGH}, so it is greyed."
        )
    sure = f" (95 % interval {interval})" if speedup.low is not None else ""
    others = f", the most of {count:,} functions" if count > 1 else ""
    return f"{name} is {how} on the GPU{sure}{others}, compared {BASES[speedup.basis]}."


def _item(name: str, speedup: Speedup, told: bool) -> dict[str, Any]:
    """One bar; `told` says that the title tells already that the GPU is simulated."""
    notes = [f"n {speedup.n['cpu']:,} · {speedup.n['gpu']:,}"]
    if not speedup.enough:
        notes.append("too few")
    if speedup.simulated and not told:
        notes.append("simulated")
    return {
        "name": name,
        "value": speedup.ratio,
        "low": speedup.low,
        "high": speedup.high,
        "note": ", ".join(notes),
        "faded": not speedup.enough,
        "tone": "gpu",
    }


def _row(name: str, speedup: Speedup) -> list[str]:
    return [
        name,
        numbers.ratio(speedup.ratio),
        _interval(speedup),
        numbers.count(speedup.n["cpu"]),
        numbers.count(speedup.n["gpu"]),
        BASES[speedup.basis],
        numbers.seconds(speedup.median_run["cpu"]),
        numbers.seconds(speedup.median_run["gpu"]),
        "simulated" if speedup.simulated else "real",
    ]


def _interval(speedup: Speedup) -> str:
    if speedup.low is None or speedup.high is None:
        return numbers.DASH
    return f"{numbers.ratio(speedup.low)} to {numbers.ratio(speedup.high)}"
