"""Charts of what ended lately: throughput, times, and who did how much with what outcome.

Pure functions from the digest of a window to what `ui.figure` shows: a title, a sentence that says
what is to be seen, the data that `static/chart.js` draws, and a table of the same numbers.  Where
there is nothing to draw, `empty` says why instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from console import numbers
from console.digest import Bins, Digest, merged
from runtime.model import DEVICES, Device, Status
from runtime.rollup import bin_bounds, quantile

Chart = dict[str, Any]

STATUSES = (Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.DEAD)
MOST_ROWS = 30  # of a table: the latest; the rest is in the chart's CSV
MOST_ITEMS = 10  # bars of a distribution: the largest, and one for all others
MOST_BARS = 40  # of a histogram
SHORTEST = 5e-6  # seconds: where the first bin begins, as a logarithmic scale has no zero
HARDLY_BEGUN = 0.25  # of a bucket: before that its rate says little
TELLING = 20  # invocations in each half of a window, for a word on how times changed …
CHANGED = 1.5  # … and how many times as long they took


def throughput(digest: Digest, span: str, now: float) -> Chart:
    """How many invocations ended a second, by status."""
    title = "Throughput"
    counts = {status: digest.ended(status) for status in STATUSES}
    total = sum(map(sum, counts.values()))
    if not total:
        return _empty(title, f"No invocation ended in the last {span}.")
    took = _durations(digest, now)
    good = sum(counts[Status.SUCCEEDED])
    series = [
        {
            "name": words(status),
            "values": [
                count / seconds for count, seconds in zip(counts[status], took, strict=False)
            ],
            "tone": status.value,
            "stack": "ended",
            "shape": "step",
        }
        for status in STATUSES
        if any(counts[status])
    ]
    share = numbers.percent(good / total)
    caption = f"{_invocations(total)} ended in the last {span}; {share} succeeded."
    shown = [status for status in STATUSES if any(counts[status])]
    rows = [
        [_at(digest, place), *(numbers.count(counts[status][place]) for status in shown)]
        for place in _latest(sum(row) for row in zip(*counts.values(), strict=True))
    ]
    return {
        "kind": "series",
        "title": title,
        "caption": caption,
        "data": {"points": digest.points()[: len(took)], "series": series, "unit": "rate"},
        "table": {"columns": ["from", *map(words, shown)], "rows": rows},
    }


def percentiles(digest: Digest, span: str) -> Chart:
    """The times that half of all took at most, and 95 % of all, by device over time."""
    title = "Times by device"
    found = {device: digest.times(device) for device in DEVICES}
    found = {device: bins for device, bins in found.items() if any(bins)}
    if not found:
        return _empty(
            title, f"No invocation succeeded in the last {span}, so there is no time to show."
        )
    names = {device: device_words(device, digest) for device in found}
    series: list[dict[str, Any]] = [
        {
            "name": f"{names[device]} {name}",
            "values": digest.quantiles(device, q),
            "tone": device,
            "faint": name == "p50",
        }
        for device in found
        for name, q in (("p50", 0.5), ("p95", 0.95))
    ]
    said = [_percentiles_said(names[device], digest.all_times(device)) for device in found]
    changes = [_change_said(names[device], bins) for device, bins in found.items()]
    rows = [
        [_at(digest, place), *(numbers.seconds(each["values"][place]) for each in series)]
        for place in _latest(map(any, zip(*found.values(), strict=True)))
    ]
    return {
        "kind": "series",
        "title": title,
        "caption": " ".join([*said, *filter(None, changes)]),
        "data": {
            "points": digest.points(),
            "series": series,
            "unit": "seconds",
            "log": True,
        },
        "table": {"columns": ["from", *(each["name"] for each in series)], "rows": rows},
    }


def histogram(digest: Digest, span: str) -> Chart:
    """How many invocations took how long from acceptance to their end, by device."""
    title = "How long invocations take"
    found = {device: digest.all_times(device) for device in DEVICES}
    found = {device: bins for device, bins in found.items() if bins}
    if not found:
        return _empty(
            title, f"No invocation succeeded in the last {span}, so there is no time to show."
        )
    names = {device: device_words(device, digest) for device in found}
    edges, counts = binned(found)
    marks = [
        {"at": at, "text": f"p{q:g}", "tone": device}
        for device, bins in found.items()
        for q in (50, 95, 99)
        if (at := quantile(bins, q / 100)) is not None
    ]
    said = [
        f"{numbers.seconds(quantile(bins, 0.5))} on the {names[device]}"
        f" (p99 {numbers.seconds(quantile(bins, 0.99))})"
        for device, bins in found.items()
    ]
    total = sum(sum(bins.values()) for bins in found.values())
    rows = [
        [
            names[device],
            numbers.count(sum(bins.values())),
            *(numbers.seconds(quantile(bins, q)) for q in (0.5, 0.95, 0.99)),
        ]
        for device, bins in found.items()
    ]
    return {
        "kind": "histogram",
        "title": title,
        "caption": f"Half of {_invocations(total)} took up to {' and '.join(said)}.",
        "data": {
            "edges": edges,
            "series": [
                {"name": names[device], "counts": counts[device], "tone": device}
                for device in found
            ],
            "unit": "seconds",
            "marks": marks,
        },
        "table": {"columns": ["device", "succeeded", "p50", "p95", "p99"], "rows": rows},
    }


def distribution(digest: Digest, span: str) -> Chart:
    """How many invocations ended, by function, device and status."""
    title = "Who ran what, and how it ended"
    found = {
        (device, function): total.statuses for (function, device), total in digest.totals.items()
    }
    totals = {key: sum(parts.values()) for key, parts in found.items() if sum(parts.values())}
    if not totals:
        return _empty(title, f"No invocation ended in the last {span}.")
    largest = sorted(totals, key=lambda key: (-totals[key], key))
    names = {device: device_words(device, digest) for device in DEVICES}
    items = [
        {"name": f"{device.upper()} {function}", "parts": _parts(found[device, function])}
        for device, function in largest[:MOST_ITEMS]
    ]
    if rest := largest[MOST_ITEMS:]:
        together = merged(found[key] for key in rest)
        items.append({"name": f"{len(rest):,} others", "parts": _parts(together)})
    device, function = largest[0]
    total = sum(totals.values())
    share = numbers.percent(totals[largest[0]] / total)
    caption = f"{function} on the {names[device]} made up {share} of {_invocations(total)}"
    shown = [status for status in STATUSES if any(found[key].get(status) for key in largest)]
    rows = [
        [
            function,
            names[device],
            *(numbers.count(found[device, function].get(s, 0)) for s in shown),
        ]
        for device, function in largest[:MOST_ROWS]
    ]
    return {
        "kind": "stacked",
        "title": title,
        "caption": f"{caption} that ended in the last {span}.",
        "data": {"unit": "count", "items": items},
        "table": {"columns": ["function", "device", *map(words, shown)], "rows": rows},
    }


# ── what other charts need, too ───────────────────────────────────────────────────────────────


def binned(found: Mapping[Device, Bins]) -> tuple[list[float], dict[Device, list[int]]]:
    """Edges (seconds), and counts between them: neighbouring bins together, where there are many.

    At least one device has at least one bin.
    """
    used = [bin for bins in found.values() for bin in bins]
    low, high = min(used), max(used)
    width = 1
    while (high - low) // width >= MOST_BARS:
        width *= 2
    count = (high - low) // width + 1
    edges = [max(SHORTEST, bin_bounds(low + place * width)[0]) for place in range(count)]
    edges.append(bin_bounds(low + count * width - 1)[1])
    counts: dict[Device, list[int]] = {}
    for device, bins in found.items():
        counts[device] = [0] * count
        for bin, amount in bins.items():
            counts[device][(bin - low) // width] += amount
    return edges, counts


def device_words(device: Device, digest: Digest) -> str:
    """CPU or GPU; and that the GPU was a CPU in disguise, where it was."""
    if device == "cpu":
        return "CPU"
    totals = [total for key, total in digest.totals.items() if key[1] == device]
    simulated = sum(total.simulated for total in totals)
    if not simulated:
        return "GPU"
    ended = sum(sum(total.statuses.values()) for total in totals)
    return "GPU (simulated)" if simulated >= ended else "GPU (partly simulated)"


def words(status: str) -> str:
    """A status as people write it."""
    return status.replace("_", " ")


# ── inside ────────────────────────────────────────────────────────────────────────────────────


def _empty(title: str, why: str) -> Chart:
    return {"title": title, "caption": "", "empty": why}


def _invocations(count: int) -> str:
    return f"{count:,} invocation{'' if count == 1 else 's'}"


def _at(digest: Digest, place: int) -> str:
    return numbers.instant(digest.start + place * digest.width).replace(".000Z", "Z")


def _latest(there: Iterable[object]) -> list[int]:
    """The latest places where there is something, newest first: the rows of a table."""
    return [place for place, what in enumerate(there) if what][: -MOST_ROWS - 1 : -1]


def _durations(digest: Digest, now: float) -> list[float]:
    """How long each bucket has lasted, in seconds, without one that has hardly begun."""
    took = [float(digest.width)] * digest.count
    passed = now - (digest.start + (digest.count - 1) * digest.width)
    if passed < digest.width:
        took[-1] = passed
    return took if took[-1] >= HARDLY_BEGUN * digest.width else took[:-1]


def _percentiles_said(name: str, bins: Bins) -> str:
    half, most = numbers.seconds(quantile(bins, 0.5)), numbers.seconds(quantile(bins, 0.95))
    return f"On the {name}, half took up to {half} and 95 % up to {most}."


def _change_said(name: str, by_bucket: Sequence[Bins]) -> str | None:
    """How p95 of the first half of a window compares to the second's, where that is much."""
    middle = len(by_bucket) // 2
    first, second = merged(by_bucket[:middle]), merged(by_bucket[middle:])
    if min(sum(first.values()), sum(second.values())) < TELLING:
        return None
    before, after = quantile(first, 0.95), quantile(second, 0.95)
    if before is None or after is None or max(before / after, after / before) < CHANGED:
        return None
    verb = "fell" if after < before else "rose"
    return f"p95 on the {name} {verb} from {numbers.seconds(before)} to {numbers.seconds(after)}."


def _parts(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {"name": words(status), "value": counts[status], "tone": status.value}
        for status in STATUSES
        if counts.get(status)
    ]
