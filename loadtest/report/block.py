"""What a report consists of, whatever it is written as: sections of texts, tables and plots.

Texts are plain: each format escapes them itself, so that nothing from outside is taken for markup.
"""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "good", "bad", "warning"]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A few sentences; `tone` is how they bear on the numbers."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Points:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """Words and what they mean."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, as many in each as `head` has; the first `names` columns name the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1
    texts: frozenset[int] = frozenset()  # further columns that hold text, and no numbers

    def is_text(self, column: int) -> bool:
        """Whether a column is read from its left edge."""
        return column < self.names or column in self.texts


@dataclass(frozen=True, slots=True)
class Code:
    """What is to be copied as it is."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, by its name (`loadtest.report.plots.PLOTS`), and what it shows in words."""

    name: str
    caption: str


Block = Paragraph | Points | Terms | Table | Code | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report."""

    title: str
    lead: tuple[Paragraph, ...]  # what to read if nothing else
    figures: tuple[tuple[str, str], ...]  # the few numbers that stand out: name and value
    sections: tuple[Section, ...]
