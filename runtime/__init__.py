"""What a function is, and how one invocation of it runs."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (said before anything is imported that needs it)
    sys.exit(
        "lumbre needs Python 3.11 or newer, and this is {}.{}: make a virtual environment of a"
        " newer one".format(*sys.version_info[:2])
    )

from runtime.context import Context as Context
from runtime.errors import InvalidInput as InvalidInput
from runtime.errors import LumbreError as LumbreError
from runtime.function import Batching as Batching
from runtime.function import Blob as Blob
from runtime.function import MediaType as MediaType
from runtime.function import Resources as Resources
from runtime.function import Retry as Retry
from runtime.function import Scaling as Scaling
from runtime.function import function as function
