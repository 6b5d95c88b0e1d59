"""How far a run of the benchmark is: what its events told by now, read as they are written.

The events are those of `loadtest.suite.event`, one a line in a file that the run's process writes.
"""

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from runtime.estimate import estimate

HALF = 5  # calls of a cell that count as half of it
Event = dict[str, Any]
Key = tuple[str, str, float | None]  # case, device, size


@dataclass(slots=True)
class Cell:
    """One case at one size on one device: its calls so far."""

    case: str
    device: str
    size: float | None
    seconds: list[float] = field(default_factory=list)  # of each call that succeeded
    failures: int = 0
    stopped: str | None = None  # why no more calls are made; None while they are

    @property
    def share(self) -> float:
        """How much of it is done, between 0 and 1: nobody knows how many calls it will take."""
        return 1.0 if self.stopped is not None else len(self.seconds) / (len(self.seconds) + HALF)

    def view(self) -> dict[str, Any]:
        """As a row of a table; times in seconds."""
        found = estimate(self.seconds) if self.seconds else None
        return {
            "case": self.case,
            "device": self.device,
            "size": self.size,
            "median": found.median if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "n": len(self.seconds),
            "failures": self.failures,
            "stopped": self.stopped,
        }


class Progress:
    """What a run told by now; `read` takes what it has told since."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._offset = 0  # bytes that were read
        self._cells: dict[Key, Cell] = {}
        self.done = 0  # cells
        self.total: int | None = None  # None until it is known
        self.doing = "looking at this machine"
        self.devices: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.ceilings: list[dict[str, Any]] = []
        self.colds: list[dict[str, Any]] = []
        self.parities: list[dict[str, Any]] = []
        self.over = False  # all is measured; what is left is to write the reports

    def read(self) -> None:
        """Take the events that were written since the last time; a half line waits."""
        try:
            with self._events.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self.take(orjson.loads(line))

    def take(self, event: Event) -> None:
        """One more event."""
        # Here, since rich and pydantic's models need not be loaded by a gateway nobody measures on.
        from loadtest.suite.progress import doing

        self.doing = doing(event) or self.doing
        if "total" in event:
            self.done, self.total = event["done"], event["total"]
        match event["event"]:
            case "began":
                self.devices, self.notes = event["devices"], list(event["notes"])
            case "note":
                self.notes.append(event["text"])
            case "sample":
                self._cell(event).seconds.append(event["seconds"])
            case "cell":
                cell = self._cell(event)
                cell.failures, cell.stopped = event["failures"], event["stopped"]
            case "ceiling":
                self._take_ceiling(event)
            case "cold":
                self.colds.append(_without_name(event))
            case "parity":
                self.parities.append(_without_name(event))
            case "ended":
                self.over, self.doing = True, "writing the report"
                self.notes = list(event["notes"])

    def _cell(self, event: Event) -> Cell:
        key = (event["case"], event["device"], event["size"])
        return self._cells.setdefault(key, Cell(*key))

    def _take_ceiling(self, event: Event) -> None:
        """A ceiling is measured before all and after all: the better median counts."""
        rate = statistics.median(event["rates"]) if event["rates"] else None
        told = {n: event[n] for n in ("device", "name", "unit")} | {"rate": rate}
        for index, known in enumerate(self.ceilings):
            if (known["device"], known["name"]) == (told["device"], told["name"]):
                self.ceilings[index] = max(known, told, key=lambda one: one["rate"] or 0.0)
                return
        self.ceilings.append(told)

    def view(self) -> dict[str, Any]:
        """For a page: counts of cells, what goes on, and what was measured by now."""
        return {
            "done": self.done,
            "total": self.total,
            "share": sum(c.share for c in self._cells.values()) / self.total if self.total else 0.0,
            "calls": sum(len(cell.seconds) for cell in self._cells.values()),
            "doing": self.doing,
            "over": self.over,
            "devices": self.devices,
            "notes": self.notes,
            "cells": [cell.view() for cell in self._in_order()],
            "ceilings": self.ceilings,
            "colds": self.colds,
            "parities": self.parities,
        }

    def _in_order(self) -> list[Cell]:
        """By case in the order of appearance, then by size and device: rows do not jump about."""
        place = {case: n for n, case in enumerate(dict.fromkeys(key[0] for key in self._cells))}
        return sorted(
            self._cells.values(), key=lambda cell: (place[cell.case], cell.size or 0, cell.device)
        )


def _without_name(event: Event) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "event"}
