"""What the tests of workers in pods run; PODS_BROKEN in a worker's environment breaks `fickle`."""

import os

from runtime import Context, InvalidInput, function


@function(timeout=30)
def fickle(context: Context, number: int) -> int:
    """Twice the number, unless this worker is broken or the number is negative."""
    if number < 0:
        raise InvalidInput("number", "it is negative")
    if os.environ.get("PODS_BROKEN"):
        raise RuntimeError("CUDA driver went away")
    return 2 * number


@function(timeout=30)
class Unfit:
    """Never gets ready."""

    def setup(self, context: Context) -> None:
        raise RuntimeError("GPU 0 failed its fitness check: 3 of 65,536 elements differ")

    def __call__(self, number: int) -> int:
        return number


@function(timeout=30, max_attempts=2)
def crash(context: Context) -> None:
    os._exit(7)
