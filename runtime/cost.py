"""Relative work of an invocation, by a formula over its parameters such as `"n ** 3"`."""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from runtime.errors import ConfigurationError
from runtime.formula import Formula, FormulaError


class Cost:
    """A cost formula over the parameters of one function."""

    def __init__(self, text: str, schema: Mapping[str, Any]) -> None:
        """Read it; `schema` is the function's input schema, whose defaults stand in.

        ConfigurationError, with the part that is not understood, for what is no such formula.
        """
        if not isinstance(text, str) or not text.strip():
            raise ConfigurationError(
                f'is {text!r:.80}: give a formula over the parameters such as "n ** 3", or leave it'
                " out"
            )
        properties = schema.get("properties", {})
        self._defaults = {
            name: said["default"] for name, said in properties.items() if "default" in said
        }
        self._formula = Formula.parse(text)
        for name in sorted(self._formula.names - properties.keys()):
            raise _unknown(name, sorted(properties))

    def of(self, parameters: Mapping[str, Any], sizes: Mapping[str, int]) -> float | None:
        """The cost of an input, above 0; None where it has none: a division by 0, a missing value.

        `sizes` are the bytes of uploaded parameters, which `len` gives.
        """
        uploads = {name: range(size) for name, size in sizes.items()}  # whose len is the size
        try:
            value = float(self._formula({**self._defaults, **parameters, **uploads}))
        except FormulaError:
            return None
        return value if math.isfinite(value) and value > 0 else None


def _unknown(name: str, known: list[str]) -> ConfigurationError:
    near = difflib.get_close_matches(name, known, 1)
    there_are = ", ".join(known) or "none"
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {there_are}"
    return ConfigurationError(f"has {name!r}, which is no parameter; {hint}")
