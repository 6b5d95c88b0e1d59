"""What every peer computes, and Lumbre beside them: an echo, and a product of matrices."""

from typing import Any

SIZE = 256


def echo(body: Any) -> Any:
    return body


class Product:
    """(x·A)·B for two 256 × 256 float32 matrices, on one thread; made once, before the first."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        numbers = torch.arange(SIZE * SIZE, dtype=torch.float32).reshape(SIZE, SIZE)
        self._a, self._b = (numbers % 7) / 8, (numbers % 5) / 4

    def __call__(self, body: dict[str, float]) -> dict[str, float]:
        return {"checksum": float(((self._a * body["x"]) @ self._b).sum())}


def checksum(x: float) -> float:
    """What the product's elements add up to, but for rounding; without torch."""
    columns = [sum((row * SIZE + k) % 7 for row in range(SIZE)) for k in range(SIZE)]
    rows = [sum((k * SIZE + column) % 5 for column in range(SIZE)) for k in range(SIZE)]
    return x * sum(a * b for a, b in zip(columns, rows, strict=True)) / 32
