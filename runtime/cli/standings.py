"""How functions stand on a cluster, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from runtime.cli.terminal import at, plain

View = Mapping[str, Any]


def with_gateway(views: Sequence[View], functions: Sequence[View]) -> list[dict[str, Any]]:
    """The standings with a gateway's live backlog, and its reason where the cluster has none."""
    known = {each["name"]: each for each in functions}
    return [_with(view, known.get(view["function"])) for view in views]


def _with(view: View, function: View | None) -> dict[str, Any]:
    depth = (function or {}).get("backlog", {}).get(view["device"])
    if function is None or depth is None:
        return {**view}
    waiting = (function["waiting"].get(view["device"]) or {}).get("detail")
    total = depth["ready"] + depth["unacknowledged"]
    return {**view, "backlog": total, "waiting": view["waiting"] or waiting}


def as_table(views: Sequence[View]) -> Table:
    """One line for each function and device."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("function", "device", "backlog", "desired", "ready", "conditions"):
        table.add_column(column, no_wrap=column != "conditions")
    table.add_column("last decision")
    table.add_column("waiting")
    for view in views:
        backlog = "?" if view["backlog"] is None else f"{view['backlog']:,g}"
        cells = (view["function"], view["device"], backlog)
        counts = (f"{view['desired']} of {view['at_most']}", view["ready"])
        row = [*map(plain, cells), *map(plain, counts), _conditions(view["conditions"])]
        table.add_row(
            *row, _decision(view["last_decision"]), plain(view["waiting"] or "", "yellow")
        )
    return table


def _conditions(known: Mapping[str, str]) -> Text:
    """Those that say something: Ready and Active, and what is wrong or unusual."""
    if not known:
        return plain("KEDA has said nothing", "yellow")
    told = Text()
    for name, status in known.items():
        usual = name in ("Ready", "Active")
        if status == "True" or (name == "Ready" and status != "True"):
            text = name if status == "True" else f"not {name}"
            told.append(f"{text} ", "green" if usual and status == "True" else "yellow")
    return told


def _decision(decision: View | None) -> Text:
    if decision is None:
        return plain("")
    return plain(f"{at(decision['at'])} {decision['message'] or decision['reason']}")
