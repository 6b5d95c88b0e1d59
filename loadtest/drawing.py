"""How figures are drawn, whatever they become: matplotlib without pyplot, and so without state.

No window and nothing global, the same in a thread or a server; texts are texts.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib


@contextmanager
def drawing(style: Mapping[Any, Any]) -> Iterator[None]:
    """Draw and save within: with these of matplotlib's settings, and of them only."""
    # A dollar sign in a name begins no formula.
    with matplotlib.rc_context({"text.parse_math": False, **style}), warnings.catch_warnings():
        # A name may have letters that the font lacks: they are boxes here, and right in the tables.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield
