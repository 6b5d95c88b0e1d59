"""How what a node says looks on a terminal: words, colours and tables.

Everything here takes the API's JSON and gives something that rich prints.  What comes from users
is wrapped in `plain`, so that neither markup nor escape sequences in it have an effect.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from runtime.finding import Finding

PROBLEMS = 20  # of an audit that are shown
WIDE = 200  # columns of what goes to a file or another program

COLOURS = {
    "queued": "blue",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "cancelled": "yellow",
    "dead": "red",
}

STATES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def console(*, error: bool = False) -> Console:
    """A console on standard output or error, which wraps nothing where nobody looks."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(stderr=error, width=width, highlight=False)


# ── words ─────────────────────────────────────────────────────────────────────────────────────


def plain(value: object, style: str = "") -> Text:
    """Text that is shown as it is."""
    return Text(str(value).replace("\x1b", "␛"), style)


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits them: 0.7 ms, 18 ms, 1.25 s, 2 min 5 s, 3 h 20 min."""
    if seconds is None:
        return ""
    if not seconds:
        return "0 ms"
    if seconds < 0.0095:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def at(instant: str | None) -> str:
    """An RFC 3339 instant in this machine's time, to the second."""
    if instant is None:
        return ""
    return datetime.fromisoformat(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _short_at(instant: str) -> str:
    """The time of day of today's instants, and of earlier ones the day as well."""
    moment = datetime.fromisoformat(instant).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%m-%d %H:%M")


def status(view: Mapping[str, Any]) -> Text:
    """An invocation's status, and its attempt where that is not the first."""
    text = plain(view["status"], COLOURS.get(view["status"], ""))
    return text.append(f", attempt {view['attempt']}") if view["attempt"] > 1 else text


def timing(timings: Mapping[str, float]) -> str:
    """Where the time went: the whole, its parts, and the function's own phases within the run."""
    parts = {name: timings.get(name, 0.0) for name in ("queue", "start", "run")}
    own = [f"{name} {duration(s)}" for name, s in timings.items() if name not in parts]
    split = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    within = f"; {', '.join(own)}" if own else ""
    return f"{duration(sum(parts.values()))} ({split}{within})"


def problem(given: Mapping[str, Any]) -> RenderableType:
    """A problem (RFC 9457): its title, then every fault or the detail, then a traceback if any."""
    lines = [plain(f"{given.get('title', 'Error')} ({given.get('status', '?')})", "bold red")]
    for fault in given.get("errors") or ():
        field = fault["pointer"].lstrip("/") or "input"
        lines.append(plain(f"  {field}: {fault['detail']}"))
    if not given.get("errors"):
        lines.append(plain(f"  {given.get('detail', 'no reason was given')}"))
    if traceback := (given.get("error") or {}).get("traceback"):
        lines.append(plain(traceback.rstrip(), "dim"))
    return Group(*lines)


# ── tables ────────────────────────────────────────────────────────────────────────────────────


def functions(items: Iterable[Mapping[str, Any]]) -> Table:
    """Functions, one line for each device of each."""
    table = _table("function", "device", "replicas", "backlog", "p50", "p95", "waiting")
    table.add_column("description")
    for view in items:
        if view["error"]:
            fault = f"broken: {view['error']['type']}: {view['error']['message']}"
            table.add_row(plain(view["name"], "red"), *[""] * 6, _short_line(fault, "red"))
            continue
        name, description = view["name"], view["description"].partition("\n")[0]
        for device in view["devices"]:
            table.add_row(plain(name), *_device_cells(view, device), _short_line(description))
            name = description = ""
    return table


def _device_cells(view: Mapping[str, Any], device: str) -> list[Text]:
    total = (view["latency"][device] or {}).get("total", {})
    waiting = view["waiting"][device] or {}
    return [
        plain(device),
        plain(replicas(view["replicas"][device])),
        plain(f"{sum(view['backlog'][device][s] for s in ('ready', 'unacknowledged')):,}"),
        plain(duration(total.get("p50"))),
        plain(duration(total.get("p95"))),
        plain(waiting.get("cause", ""), "yellow"),
    ]


def replicas(counts: Mapping[str, int]) -> str:
    """How many replicas there are, and what those do that are not simply ready."""
    others = [f"{counts[s]} {s}" for s in ("busy", "starting", "draining") if counts[s]]
    number = sum(counts[state] for state in ("ready", "busy", "starting"))
    return f"{number} ({', '.join(others)})" if others else str(number)


def invocations(items: Iterable[Mapping[str, Any]]) -> Table:
    """Invocations, one a line."""
    # One space between columns, so that ids stay whole on a terminal of 80.
    table = _table("id", "created", "device", "took", gap=1)
    for name in ("status", "function", "error"):
        table.add_column(name)
    table.columns[0].min_width = 32
    table.columns[4].min_width = max(map(len, COLOURS))
    for view in items:
        error = view["error"]
        table.add_row(
            plain(view["id"]),
            plain(_short_at(view["created_at"])),
            plain(view["device"]),
            plain(duration(_total(view))),
            status(view),
            plain(view["function"]),
            _short_line(f"{error['type']}: {error['message']}" if error else ""),
        )
    return table


def invocation(view: Mapping[str, Any]) -> RenderableType:
    """All there is to say of one invocation."""
    rows = _pairs()
    rows.add_row("id", plain(view["id"]))
    rows.add_row("function", plain(f"{view['function']} (version {view['version']})"))
    rows.add_row("status", status(view))
    asked = "" if view["device"] == view["requested_device"] else f" ({view['requested_device']})"
    rows.add_row("device", plain(view["device"] + asked))
    for name in ("created", "started", "finished"):
        if instant := view[f"{name}_at"]:
            rows.add_row(name, plain(at(instant)))
    if view["timings"]:
        rows.add_row("took", plain(timing(view["timings"])))
    if view["replica"]:
        rows.add_row("replica", plain(view["replica"] + (", a cold start" if view["cold"] else "")))
    _add_input(rows, view["input"])
    if error := view["error"]:
        rows.add_row("error", plain(f"{error['type']}: {error['message']}", "red"))
        if error.get("traceback"):
            rows.add_row("", plain(error["traceback"].rstrip(), "dim"))
    if earlier := view["links"]["replayed_from"]:
        rows.add_row("replay of", plain(earlier.rpartition("/")[2]))
    for name, link in view["links"]["blobs"].items():
        rows.add_row("blob", plain(f"{name}: {link}"))
    attempts = [_attempt(attempt) for attempt in view.get("attempts", ())]
    return Group(rows, *attempts)


def _add_input(rows: Table, given: Mapping[str, Any]) -> None:
    parameters = given["parameters"]
    if parameters is None:
        rows.add_row("input", plain("too large to show"))
    for name, value in (parameters or {}).items():
        rows.add_row("input", plain(f"{name} = {_short(value)}"))
    for name, part in given["parts"].items():
        rows.add_row("input", plain(f"{name}: {part['size']:,} bytes of {part['media_type']}"))


def _short(value: Any, most: int = 200) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= most else f"{text[:most]} … ({len(text):,} characters)"


def _attempt(attempt: Mapping[str, Any]) -> Text:
    error = attempt["error"] or {"type": "", "message": "ended without an outcome"}
    said = ": ".join(filter(None, (error["type"], error["message"])))
    where = f"attempt {attempt['attempt']} on {attempt['replica']}"
    return plain(f"{where}, {at(attempt['finished_at'])}: {said}", "yellow")


def batches(items: Iterable[Mapping[str, Any]]) -> Table:
    """Batches, one a line."""
    table = _table("id", "created", "state", "over", "failed")
    table.add_column("function")
    for view in items:
        table.add_row(
            plain(view["id"]),
            plain(_short_at(view["created_at"])),
            _state(view),
            plain(_over(view)),
            plain(f"{_failed(view):,}" if _failed(view) else "", "red"),
            plain(view["function"]),
        )
    return table


def batch(view: Mapping[str, Any]) -> RenderableType:
    """All there is to say of one batch."""
    rows = _pairs()
    rows.add_row("id", plain(view["id"]))
    rows.add_row("function", plain(view["function"]))
    rows.add_row("device", plain(view["requested_device"]))
    rows.add_row("state", _state(view))
    rows.add_row("created", plain(at(view["created_at"])))
    rows.add_row("over", plain(_over(view)))
    for name, count in view["by_status"].items():
        if count:
            rows.add_row("", plain(f"{count:,} {name}", COLOURS.get(name, "")))
    if view["throughput"]:
        rows.add_row("lately", plain(f"{view['throughput']:,.3g} a second"))
    if view["eta"]:
        rows.add_row("left", plain(f"about {duration(view['eta'])}"))
    return rows


def _state(view: Mapping[str, Any]) -> Text:
    if view["finished"] and view["state"] == "accepted":
        return plain("finished", "red" if _failed(view) else "green")
    return plain(view["state"], {"accepted": "cyan", "cancelled": "yellow"}.get(view["state"], ""))


def _over(view: Mapping[str, Any]) -> str:
    part = "" if view["progress"] is None else f" ({view['progress']:.0%})"
    return f"{view['done']:,} of {view['total']:,}{part}" if view["total"] else "coming in"


def _failed(view: Mapping[str, Any]) -> int:
    return sum(view["by_status"][name] for name in ("failed", "timed_out", "dead"))


def letters(items: Iterable[Mapping[str, Any]]) -> Table:
    """Dead letters, one a line, and why each died."""
    table = _table("id", "died", "queue", "attempts")
    table.add_column("why")
    for view in items:
        why = view["reason"]
        if view["unreadable"]:
            why = f"no message of Lumbre ({view['size']:,} bytes): {view['preview']!r}"
        table.add_row(
            plain(view["id"]),
            plain(_short_at(view["at"])),
            plain(view["queue"]),
            Text(f"{len(view['attempts'])}" if view["attempts"] else "", justify="right"),
            _short_line(why, "red"),
        )
    return table


def keys(items: Iterable[Mapping[str, Any]]) -> Table:
    """API keys, one a line."""
    table = _table("id", "name", "scopes", "rate", "created", "last used", "state")
    colours = {"valid": "green", "expired": "yellow", "revoked": "red"}
    for view in items:
        rate = "" if view["rate"] is None else f"{view['rate']:g}/s"
        state = plain(view["state"], colours[view["state"]])
        if view["state"] == "valid" and view["expires_at"]:
            state.append(f" until {at(view['expires_at'])}", "")
        cells = [view["id"], view["name"], ", ".join(view["scopes"]), rate]
        cells += [at(view["created_at"]), at(view["last_used_at"])]
        table.add_row(*map(plain, cells), state)
    return table


def audit(found: Mapping[str, Any]) -> RenderableType:
    """The sum that every accepted invocation is in, what the queues hold, and whether it holds."""
    parts: list[RenderableType] = [_sum(found)]
    if found["queues"] is not None:
        parts += _held(found)
    if found["repaired"]:
        parts.append(plain(f"put into their queues once more: {len(found['repaired']):,}", "cyan"))
    if found["holds"]:
        parts.append(Text("holds: every accepted invocation is accounted for", "green"))
    else:
        parts.append(Text("does not hold:", "bold red"))
        parts += [plain(f"  {sentence}", "red") for sentence in found["problems"][:PROBLEMS]]
        if (more := len(found["problems"]) - PROBLEMS) > 0:
            parts.append(Text(f"  and {more:,} more, which --json names"))
    if found["lost"] and not found["repaired"]:
        parts.append(Text("`lumbre audit --repair` puts what is nowhere into its queue once more"))
    return Group(*parts)


def _sum(found: Mapping[str, Any]) -> Table:
    """accepted = terminal + queued + running, one below the other."""
    table = _pairs()
    for name, count in found["by_status"].items():
        table.add_row(plain(name, COLOURS.get(name, "")), Text(f"{count:,}", justify="right"))
    if found["purged"]:
        table.add_row("purged by retention", Text(f"{found['purged']:,}", justify="right"))
    table.add_row("accepted", Text(f"{found['accepted']:,}", "bold", justify="right"))
    return table


def _held(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What the ledger waits for and what the broker has of it, queue by queue."""
    counts = ("queued", "running", "unpublished", "ready", "leased", "missing")
    busy = [each for each in found["queues"] if any(each[name] for name in counts)]
    if busy:
        table = _table("queue")
        for name in counts:
            table.add_column(name, justify="right", no_wrap=True)
        for each in busy:
            cells = ["none" if each[name] is None else f"{each[name]:,}" for name in counts]
            table.add_row(plain(each["queue"]), *cells)
        yield Group(Text(""), table)
        told = f"queued, running, unpublished: the ledger; leased: {found['leased_from']}"
        yield plain(told, "dim")
    between = [f"{count:,} in {name}" for name, count in found["between"].items() if count]
    if between and not found["explanation"]:  # which tells it, too
        yield plain(f"on their way: {', '.join(between)}")
    if found["explanation"]:
        yield plain(f"{found['missing']:,} missing: {found['explanation']}", "yellow")


def finding(found: "Finding") -> Text:
    """One line of a checkup."""
    line = plain(f"{found.state:<9}", STATES[found.state])
    line.append_text(plain(f"{found.subject:<12}{found.text}"))
    if found.advice:
        line.append_text(plain(f" → {found.advice}", "bold"))
    return line


def diagnosis(found: Sequence["Finding"]) -> Text:
    """The sum of a checkup."""
    counts = Counter(f"{each.state}" for each in found)
    if not counts["problem"] and not counts["warning"]:
        return Text("all is well", "green")
    told = [_counted(counts[each], each) for each in ("problem", "warning") if counts[each]]
    return Text(" and ".join(told), "red" if counts["problem"] else "yellow")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def settings(rows: Iterable[tuple[str, object, str, str]]) -> Table:
    """Settings: name, value, origin and description."""
    table = _table("setting")
    for name in ("value", "from", "what it is"):
        table.add_column(name, overflow="fold")
    for name, value, origin, description in rows:
        told = plain(origin, "dim" if origin == "default" else "bold")
        table.add_row(plain(name), plain(value), told, plain(description, "dim"))
    return table


def _table(*columns: str, gap: int = 2) -> Table:
    """A table of columns that keep their width; add those that may shrink."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gap, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _short_line(value: str, style: str = "") -> Text:
    """Text that is cut rather than wrapped where it does not fit."""
    text = plain(value, style)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _pairs() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _total(view: Mapping[str, Any]) -> float | None:
    timings = view["timings"]
    if not timings:
        return None
    return float(sum(timings.get(name, 0.0) for name in ("queue", "start", "run")))
