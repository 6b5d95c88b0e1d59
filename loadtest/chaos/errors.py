"""Why a run cannot go on."""


class ChaosError(Exception):
    """A run cannot go on; says what happened, and what it looked like."""
