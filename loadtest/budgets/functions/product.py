"""A torch function that goes to zero as soon as it may, so that its starts can be measured."""

import torch

from runtime import Resources, Scaling, function


@function(resources=Resources(cpu=1), scaling=Scaling(cooldown=0, polling_interval=0.5))
def product(n: int = 256) -> float:
    """Multiply two n × n float32 matrices of ones, and give the sum of the product: n³."""
    ones = torch.ones(n, n)
    return float((ones @ ones).sum())
