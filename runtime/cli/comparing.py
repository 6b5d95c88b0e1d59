"""How a function's two devices compare, on a terminal: what `lumbre invoke --device compare` shows.

Everything here takes the JSON that a node answers `device=compare` with.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.table import Table

from runtime.cli.terminal import COLOURS, duration, plain, timing
from runtime.model import DEVICES, Status

MAX_RESULT = 120  # characters of a result that are shown


def succeeded(view: Mapping[str, Any]) -> bool:
    """Whether both devices gave a result."""
    return all(view[device]["status"] == Status.SUCCEEDED for device in DEVICES)


def comparison(view: Mapping[str, Any]) -> RenderableType:
    """Both runs, one line each, how much faster the GPU was, and whether the results agree."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("device", "status", "run", "time", "result"):
        table.add_column(name, overflow="fold")
    for device in DEVICES:
        side = view[device]
        table.add_row(
            plain(f"{device} (simulated)" if side["simulated"] else device, "cyan"),
            plain(side["status"], COLOURS.get(side["status"], "")),
            plain(duration(side["run"])),
            plain(timing(side["timings"]) if side["timings"] else ""),
            plain(_result(side)),
        )
    return Group(table, plain(_verdict(view), "bold"), *map(plain, _agreement(view["agree"])))


def accepted(view: Mapping[str, Any]) -> str:
    """The ids of both, where nobody waits for them."""
    return "\n".join(view[device]["id"] for device in DEVICES)


def _result(side: Mapping[str, Any]) -> str:
    if error := side["error"]:
        text = f"{error['type']}: {error['message']}"
    elif "result" in side:
        text = orjson.dumps(side["result"]).decode()
    elif "size" in side:
        text = f"{side['size']:,} bytes of {side['media_type']}: `lumbre result {side['id']}`"
    else:
        text = ""
    return text if len(text) <= MAX_RESULT else f"{text[:MAX_RESULT]}…"


def _verdict(view: Mapping[str, Any]) -> str:
    if view["speedup"] is None:
        return "no speedup: not both ran to their end"
    label = " (simulated: it says nothing about a GPU)" if view["simulated"] else ""
    return f"GPU over CPU, of one run each: {view['speedup']:.3g} ×{label}"


def _agreement(agree: bool | Mapping[str, bool] | None) -> list[str]:
    if agree is None:
        return []
    if isinstance(agree, bool):
        return ["the results agree" if agree else "the results differ"]
    alike = [name for name, same in agree.items() if same]
    apart = [name for name, same in agree.items() if not same]
    told = [("agree", alike), ("differ", apart)]
    return [f"{verb}: {', '.join(names)}" for verb, names in told if names]
