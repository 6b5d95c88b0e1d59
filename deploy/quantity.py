"""Kubernetes' resource quantities as numbers: 512Mi, 1.5G, 500m."""

from decimal import Decimal

SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGT", 1)},
}


def number(quantity: str) -> Decimal:
    """What a quantity stands for, such as bytes or cores; it is one that `Values` took."""
    digits = quantity.rstrip("".join({*"".join(SUFFIXES)}))
    return Decimal(digits) * SUFFIXES[quantity[len(digits) :]]
