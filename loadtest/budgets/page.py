"""The page of benchmarks: a section for each, and each written by itself."""

import re
from collections.abc import Sequence
from pathlib import Path

HEAD = """\
# Benchmarks

Written by `make bench`; run it to have your own machine's numbers here."""
# In the order of the page; others are dropped.
SECTIONS = ("One process", "Over RabbitMQ", "The load test")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def put(page: Path, title: str, body: str) -> None:
    """Write one section, and leave the others as they are; the page is made where it is missing."""
    old = page.read_text() if page.exists() else ""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(joined(sections(old) | {title: body}, SECTIONS))


def sections(text: str) -> dict[str, str]:
    """The bodies of a page's sections, by their titles."""
    _, *parts = HEADING.split(text)
    return {title: body.strip() for title, body in zip(parts[::2], parts[1::2], strict=True)}


def joined(bodies: dict[str, str], order: Sequence[str]) -> str:
    """A page of sections."""
    parts = [f"## {title}\n\n{bodies[title].strip()}" for title in order if title in bodies]
    return "\n\n".join([HEAD, *parts]) + "\n"
