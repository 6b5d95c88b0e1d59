"""A value as a YAML document that people read and copy."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
# What YAML 1.1 takes for something else than text, and Kubernetes reads YAML 1.1.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def as_yaml(value: Any) -> str:
    """A value of mappings, lists, ASCII texts and numbers as a YAML document."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [line for key, inner in value.items() for line in _member(key, inner)]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return [line for item in value for line in _item(item)]
    return [_scalar(value)]


def _member(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping | list) and value:
        indent = "" if isinstance(value, list) else "  "
        return [f"{key}:", *(indent + line for line in _lines(value))]
    return [f"{key}: {_scalar(value)}"]


def _item(value: Any) -> list[str]:
    first, *others = _lines(value)
    return [f"- {first}", *(f"  {line}" for line in others)]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)  # YAML takes JSON
