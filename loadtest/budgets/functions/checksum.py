"""The product of matrices that the peers compute (`loadtest.budgets.peers.work`)."""

import torch

from runtime import Context, Resources, function


@function(resources=Resources(cpu=1))
class Checksum:
    """Multiply two 256 × 256 float32 matrices, and add up the product's elements."""

    def setup(self, context: Context) -> None:
        numbers = torch.arange(256 * 256, dtype=torch.float32).reshape(256, 256)
        self._a, self._b = (numbers % 7) / 8, (numbers % 5) / 4

    def __call__(self, x: float = 1.0) -> dict[str, float]:
        return {"checksum": float(((self._a * x) @ self._b).sum())}
