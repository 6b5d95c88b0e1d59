"""A function whose one replica can be held, so that what follows must queue."""

from runtime import Scaling, function


@function(timeout=900, scaling=Scaling(max_replicas=1))
def held(gate: str = "") -> int:
    """Do nothing; with a `gate`, the path of a FIFO, first wait until somebody writes to it."""
    if gate:
        with open(gate) as opened:
            opened.read()
    return 0
