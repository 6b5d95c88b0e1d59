"""Objects as YAML that Kubernetes reads as they are.

Kubernetes' parser follows YAML 1.1 with habits of its own: it takes `y` for true and `12e5` for a
number, where PyYAML's reader sees texts.  Whatever may be taken for something else is quoted.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from deploy.pod import Object

_NUMERIC = re.compile(r"[-+.]?[0-9][0-9a-fxo_.,:+-]*", re.IGNORECASE)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".nan"})
WIDTH = 100


class _Dumper(yaml.SafeDumper):
    """Without anchors, with list items indented, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|"
    elif _NUMERIC.fullmatch(text) or text.lower() in _WORDS or text == "=":
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_stream(objects: Iterable[Object], head: str = "") -> str:
    """One YAML document for each object; `head` is said in comments before them."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + yaml.dump_all(
        objects,
        Dumper=_Dumper,
        sort_keys=False,
        explicit_start=True,
        allow_unicode=True,
        width=WIDTH,
    )
