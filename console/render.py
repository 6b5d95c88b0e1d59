"""From a view to HTML: the templates, what every template may use, and one block of a page.

Templates are loaded once, when the first page is asked for; Jinja2 escapes everything.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from console import numbers

HERE = Path(__file__).parent
STATIC = HERE / "static"
# Within <script type="application/json">, these could end the element or begin a comment in it.
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_CODE = re.compile(r"(`{1,2})([^`\n]+)\1")


@cache
def environment() -> Environment:
    """The templates with their filters; macros of `macros.html` are `ui.…` everywhere."""
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        auto_reload=False,  # they belong to the code that runs, whatever is installed meanwhile
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "seconds": numbers.seconds,
        "size": numbers.size,
        "count": numbers.count,
        "percent": numbers.percent,
        "ratio": numbers.ratio,
        "rate": numbers.rate,
        "significant": numbers.significant,
        "instant": numbers.instant,
        "short": numbers.short,
        "age": numbers.age,
        "path": lambda text: quote(str(text), safe=""),
        "json": in_script,
        "pretty": pretty,
        "prose": prose,
    }
    env.globals |= {"static": static, "ago": numbers.ago, "dash": numbers.DASH, "rows": rows}
    env.globals["ui"] = env.get_template("macros.html").module
    return env


def page(template: str, context: Mapping[str, Any]) -> str:
    """A whole page."""
    return environment().get_template(template).render(context)


def block(template: str, name: str, context: Mapping[str, Any]) -> str | None:
    """One block of a page; None where it has no such block."""
    loaded = environment().get_template(template)
    render = loaded.blocks.get(name)
    if render is None:
        return None
    return "".join(render(loaded.new_context(dict(context))))


def in_script(value: Any) -> Markup:
    """A value as JSON for a <script type="application/json">; numbers that are none become null."""
    return Markup(orjson.dumps(value, default=str).decode().translate(_IN_SCRIPT))


def rows(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> Markup:
    """The rows of a table of texts, each cell with its column's name; many times what a loop of
    the template would do in the time, and charts have hundreds of cells.
    """
    starts = [f'<td data-label="{escape(column)}">' for column in columns]
    return Markup(
        "".join(
            "<tr>"
            + "".join(
                f"{start}{escape(cell)}</td>" for start, cell in zip(starts, line, strict=True)
            )
            + "</tr>"
            for line in lines
        )
    )


def pretty(value: Any) -> str:
    """A JSON value as people read it, indented by two; large texts stay as they are."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def prose(text: str) -> Markup:
    """A text as docstrings are written: what stands between backticks, one or two, is code."""
    return Markup(_CODE.sub(r"<code>\2</code>", str(escape(text))))


@cache
def static(name: str) -> str:
    """The URL of a file beside the templates, with its hash: a browser keeps it for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"
