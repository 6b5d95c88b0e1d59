"""What the latest cold starts of a function were spent on, as bars of parts."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from console import numbers
from runtime.lifeline import ReplicaLife

MOST = 12  # replicas that are shown: the latest
TITLE = "Cold starts"


def cold_start_chart(lives: Sequence[ReplicaLife], span: str) -> dict[str, Any]:
    """Spawn and import, then setup, of the latest replicas, given newest first.

    A replica is forked from a process that has imported its file already, so both are told as one.
    """
    ready = [life for life in lives if life.ready_at is not None][:MOST]
    if not ready:
        why = f"No replica became ready in the last {span}."
        return {"title": TITLE, "caption": "", "empty": why}
    parts = [_parts(life) for life in ready]
    return {
        "kind": "stacked",
        "title": TITLE,
        "caption": _said(parts),
        "data": {
            "unit": "seconds",
            "items": [
                {
                    "name": _name(life),
                    "parts": [
                        {"name": "spawn and import", "value": spawn, "tone": "start"},
                        {"name": "setup", "value": setup, "tone": "run"},
                    ],
                }
                for life, (spawn, setup) in zip(ready, parts, strict=True)
            ],
        },
        "table": {
            "columns": ["replica", "device", "started", "spawn and import", "setup"],
            "rows": [
                [
                    life.name,
                    _device(life),
                    numbers.instant(life.spawned_at),
                    numbers.seconds(spawn),
                    numbers.seconds(setup),
                ]
                for life, (spawn, setup) in zip(ready, parts, strict=True)
            ],
        },
    }


def _parts(life: ReplicaLife) -> tuple[float, float]:
    whole = max(0.0, (life.ready_at or life.spawned_at) - life.spawned_at)
    setup = min(whole, max(0.0, life.setup))
    return whole - setup, setup


def _device(life: ReplicaLife) -> str:
    return life.device.upper() + (" (simulated)" if life.simulated else "")


def _name(life: ReplicaLife) -> str:
    """When, and on what; a cluster's names of replicas are too long for an axis."""
    return f"{_device(life)} {numbers.instant(life.spawned_at)[11:19]}"


def _said(parts: Sequence[tuple[float, float]]) -> str:
    spawn = median(first for first, _ in parts)
    setup = median(second for _, second in parts)
    whole = median(first + second for first, second in parts)
    most = "setup" if setup > spawn else "spawn and import"
    if len(parts) == 1:
        return f"The latest cold start took {numbers.seconds(whole)}, mostly {most}."
    return (
        f"The latest {len(parts)} cold starts took {numbers.seconds(whole)} in the median, mostly"
        f" {most}."
    )
