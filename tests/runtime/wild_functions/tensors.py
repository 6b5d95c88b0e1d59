"""Functions that return what torch and NumPy make."""

import numpy as np
import torch

from runtime import Context, Scaling, function

ONE = Scaling(max_replicas=1)


@function(scaling=ONE)
def tensor(context: Context, what: str) -> object:
    """Return something that torch or NumPy made."""
    grid = torch.arange(6, dtype=torch.float32, device=context.device).reshape(2, 3)
    if what == "tensor":
        return grid
    if what == "scalar":
        return grid.sum()
    if what == "array":
        return grid.numpy().astype(np.int16)
    if what == "inside":
        return {
            "mean": np.float32(2.5),
            "n": np.int64(6),
            "row": grid[0],
            "bad": np.array([np.nan]),
        }
    return torch.get_num_threads()
