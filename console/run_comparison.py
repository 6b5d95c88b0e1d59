"""What changed between two runs of the benchmark, as a page shows it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtest.suite.change import Change, Subject
    from loadtest.suite.difference import Difference

FARTHEST = 2  # times the largest median: whiskers that go on would leave no room for bars
MOST_BARS = 12  # of the chart, which is no higher; the table has all
TONES = {"slower": "bad", "faster": "good"}


def comparison(before: Path, after: Path) -> dict[str, Any]:
    """Two runs side by side, from their folders; computes for a second.

    UnreadableResults where one of them has none.
    """
    from loadtest.suite.difference import compare
    from loadtest.suite.results import read

    found = compare(read(before), read(after))
    return {
        "headline": found.headline,
        "caution": found.caution,
        "warnings": list(found.warnings),
        "parities": list(found.parities),
        "failures": list(found.failures),
        "changes": [_change(change) for change in found.changes],
        "chart": _chart(found),
        "only_before": [_subject(subject) for subject in found.only_before],
        "only_after": [_subject(subject) for subject in found.only_after],
        "facts": [{"name": n, "before": b, "after": a} for n, b, a in found.facts],
        "simulated": sorted(found.simulated),
        "markdown": found.markdown(),
    }


def _subject(subject: "Subject") -> dict[str, Any]:
    return {
        "kind": subject.kind,
        "case": subject.case,
        "size": subject.size,
        "words": subject.words,
        "device": subject.device,
    }


def _change(change: "Change") -> dict[str, Any]:
    ratio = change.ratio
    return _subject(change.subject) | {
        "before": change.before,
        "after": change.after,
        "ratio": ratio.median if ratio else None,  # of seconds, after over before
        "low": ratio.low if ratio else None,
        "high": ratio.high if ratio else None,
        "verdict": change.verdict,
        "why": change.why,
    }


def _chart(found: "Difference") -> dict[str, Any]:
    """The ratios of the work itself; what cannot be compared is left out."""
    title = "Seconds after, of seconds before"
    works = [c for c in found.changes if c.subject.kind == "the work itself" and c.ratio]
    if not works:
        return {"title": title, "caption": "", "empty": "Nothing could be compared"}
    shown = sorted(works, key=lambda c: -abs(c.ratio.median - 1 if c.ratio else 0))[:MOST_BARS]
    reach = FARTHEST * max(c.ratio.median for c in shown if c.ratio)
    marked = any(c.subject.device in found.simulated for c in shown)
    beyond = f" The {MOST_BARS} that moved most are shown." if len(works) > MOST_BARS else ""
    return {
        "kind": "bars",
        "title": title,
        "caption": "Below 1 it became faster, above 1 slower; an interval that holds 1 is noise."
        + beyond
        + (" * of a simulated GPU, which computes on the CPU." if marked else ""),
        "data": {"unit": "ratio", "reference": 1, "items": [_bar(c, found, reach) for c in shown]},
    }


def _bar(change: "Change", found: "Difference", reach: float) -> dict[str, Any]:
    from loadtest import quantity

    subject, ratio = change.subject, change.ratio
    assert ratio
    size = "" if subject.size is None else f" {quantity.given(subject.size)}"
    mark = "*" if subject.device in found.simulated else ""
    return {
        "name": f"{subject.case}{size} {subject.device.upper()}{mark}",
        "value": ratio.median,
        "low": ratio.low,
        "high": None if ratio.high is None else min(ratio.high, reach),
        "note": change.verdict,
        "faded": ratio.low is None,
        "tone": TONES.get(change.verdict, "muted"),
    }
