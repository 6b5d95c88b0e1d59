"""How a simulation looks on a terminal: tables and a line of small bars."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runtime.cli.terminal import duration, plain

PERCENTILES = ("p50", "p90", "p95", "p99", "max", "mean")
BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 60  # bars of a timeline
SHOWN = 20  # policies of a sweep's table that are on no front: the cheapest
NOT_IN_IT = (
    "not in it: retries, timeouts, replicas that die, batching, pipelining of very short functions,"
    " the gateway's and the broker's own time, and other functions that want the same GPUs"
)


def policy_words(policy: Mapping[str, float]) -> str:
    """A policy in the knobs of the command line."""
    return (
        f"target={policy['target']:g} cooldown={policy['cooldown']:g}"
        f" min={policy['min_replicas']:g} max={policy['max_replicas']:g}"
        f" polling={policy['polling_interval']:g} window={policy['stabilization_window']:g}"
    )


def one(view: Mapping[str, Any], price: float | None) -> RenderableType:
    """One simulation, beside what was recorded where there is a trace."""
    found, recorded = view["simulated"], view["recorded"]
    title = f"{view['engine']} engine, {policy_words(view['policy'])}"
    return Group(
        plain(title, "bold"),
        _latencies(found, recorded),
        _facts(found, recorded, price),
        _bars("backlog", [point["ready"] + point["unacknowledged"] for point in found["timeline"]]),
        _bars("replicas", [_replicas(point) for point in found["timeline"]]),
        *_assumptions(view["assumed"], found["unserved"]),
    )


def sweep(view: Mapping[str, Any], best: str, price: float | None) -> RenderableType:
    """The front of a sweep, what else was tried, and which to take."""
    candidates = sorted(view["candidates"], key=lambda each: each["cost"])
    front = [each for each in candidates if each["front"]]
    others = [each for each in candidates if not each["front"]][:SHOWN]
    knobs = [name.removesuffix("_replicas") for name in view["recommended"]["knobs"]]
    table = _table(*knobs, "p50", "p95", "p99", "cold", "replicas", "used")
    table.add_column(_cost_name(price), justify="right")
    for each in [*front, *others]:
        style = "" if each["front"] else "dim"
        if each["knobs"] == view["recommended"]["knobs"]:
            style = "bold green"
        table.add_row(*_line(each, price), style=style)
    hidden = len(candidates) - len(front) - len(others)
    more = [plain(f"{hidden:,} more are in --json", "dim")] if hidden else []
    return Group(
        plain(
            f"{view['engine']} engine: {len(candidates):,} policies, of which {len(front):,}"
            " have no other that is as cheap and as fast (the first ones)",
            "bold",
        ),
        table,
        *more,
        plain(f"recommended: {best or 'what was given'}", "bold green"),
        plain(f"  {view['why']}"),
        *_assumptions(view["assumed"], view["recommended"]["unserved"]),
        plain("  it is judged on these arrivals: other ones may call for another policy", "dim"),
    )


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Something to tell how many of how many policies are done."""
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("policies", total=None)

        def tell(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield tell


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _latencies(found: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    for name in PERCENTILES:
        table.add_column(name, justify="right")
    rows = [("arrival to end", found["total"])]
    if recorded:
        rows.append(("  recorded", recorded["total"]))
    rows.append(("waited", found["waited"]))
    if recorded:
        rows.append(("  recorded", recorded["waited"]))
    for name, values in rows:
        style = "dim" if name.startswith(" ") else ""
        table.add_row(name, *(duration(values[each]) or "–" for each in PERCENTILES), style=style)
    return table


def _facts(
    found: Mapping[str, Any], recorded: Mapping[str, Any] | None, price: float | None
) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    seconds, replicas = found["replica_seconds"], found["replicas"]
    cold = f"{found['cold']:,} ({found['cold_share']:.2%})"
    if recorded:
        cold += f", recorded {recorded['cold']:,} ({recorded['cold_share']:.2%})"
    rows = [
        ("invocations", f"{found['invocations']:,} in {duration(found['seconds'])}"),
        ("cold", cold),
        (
            "replicas",
            f"{replicas['mean']:.3g} in the mean, {replicas['most']:,} at most,"
            f" changed {found['changes']:,} times",
        ),
        (
            "replica-seconds",
            f"{seconds['total']:,.0f}: busy {seconds['busy']:,.0f}, idle {seconds['idle']:,.0f},"
            f" starting {seconds['starting']:,.0f}; used {found['utilisation']:.1%}",
        ),
        (_cost_name(price), _cost(found["cost"])),
    ]
    for name, value in rows:
        table.add_row(Text(name, "dim"), value)
    return table


def _line(each: Mapping[str, Any], price: float | None) -> list[str]:
    times = [duration(each[name]) or "–" for name in ("p50", "p95", "p99")]
    return [
        *(f"{value:g}" for value in each["knobs"].values()),
        *times,
        f"{each['cold_share']:.2%}",
        f"{each['replicas']:.3g}",
        f"{each['utilisation']:.1%}",
        _cost(each["cost"]),
    ]


def _cost_name(price: float | None) -> str:
    return "replica-hours" if price is None else f"cost at {price:g}/h"


def _cost(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}"


def _replicas(point: Mapping[str, float]) -> float:
    return sum(point[name] for name in ("starting", "idle", "busy", "draining"))


def _bars(name: str, values: Sequence[float]) -> Text:
    """Most of each of WIDTH parts, as a bar of eighths of the highest."""
    size = max(1, len(values) // WIDTH)
    parts = [max(values[at : at + size]) for at in range(0, len(values), size)]
    top = max(parts, default=0) or 1
    bars = "".join(BARS[-(-int(value * 8) // int(top)) if value else 0] for value in parts)
    return Text.assemble((f"{name:<9}", "dim"), bars, (f" up to {top:,.0f}", "dim"))


def _assumptions(assumed: Sequence[str], unserved: int) -> list[Text]:
    lines = []
    if unserved:
        text = f"{unserved:,} wait for ever: the backlog is not above the activation"
        lines.append(plain(text, "bold yellow"))
    lines += [plain(f"  assumed: {each}", "dim") for each in assumed]
    return [*lines, plain(f"  {NOT_IN_IT}", "dim")]
