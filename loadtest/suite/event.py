"""What a run tells while it goes on: dicts that are JSON, each with its `event`.

- began: devices, notes, quick, seed, done, total
- ceiling: device, name, unit, rates
- note: text
- sample: case, device, size, seconds, n, done, total
- cell: case, device, size, seconds, low, high, n, failures, stopped, done, total
- parity: case, size, holds, reason
- cold: case, device, size, start, first, warm
- ended: seconds, interrupted, notes

`done` and `total` count cells.
"""

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Tell = Callable[[Event], None]
