"""Batched functions."""

import os
import time
from typing import Any

from pydantic import BaseModel, Field

from runtime import Batching, Context, Retry, Scaling, function

ONE = Scaling(max_replicas=1)


class Item(BaseModel):
    x: int = Field(ge=0)
    action: str = "pass"
    text: str = ""


@function(scaling=ONE, batching=Batching(max_size=4, max_wait=0.2))
def together(context: Context, items: list[Item]) -> list[Any]:
    """Tell each who was in the same batch."""
    actions = [item.action for item in items]
    if "die" in actions:
        os._exit(6)
    if "raise" in actions:
        raise ValueError("the whole batch")
    if "sleep" in actions:
        time.sleep(30)
    if "too few" in actions:
        return [1]
    print("batch of", len(items))
    with context.timer("forward"):
        results: list[Any] = [
            {"x": item.x, "with": len(items), "length": len(item.text)} for item in items
        ]
    for index, item in enumerate(items):
        if item.action == "bad":
            results[index] = ValueError(f"bad {item.x}")
        if item.action == "odd":
            results[index] = object()
    return results


@function(
    scaling=ONE,
    timeout=0.5,
    batching=Batching(max_size=4, max_wait=0.05),
    retries=Retry(max_attempts=2, on=("ConnectionError",), backoff=0.01),
)
def again(context: Context, items: list[Item]) -> list[Any]:
    """Fail the one that says so, in its first attempt."""
    if any(item.action == "sleep" for item in items):
        time.sleep(30)
    return [
        ConnectionError("once") if i.action == "flaky" and context.attempt == 1 else i.x
        for i in items
    ]
