"""Text and tables in LaTeX's own marks.  Every string from a run goes through `escape`."""

import string
import unicodedata
from collections.abc import Sequence

# What LaTeX would take for a command, or would join with its neighbour into another character.
COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": r"-{}",
    ",": r",{}",
    "?": r"?{}",
    "!": r"!{}",
}
SYMBOLS = {
    "×": r"$\times$",
    "÷": r"$\div$",
    "−": r"$-$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "≈": r"$\approx$",
    "≠": r"$\ne$",
    "√": r"$\surd$",
    "∞": r"$\infty$",
    "‖": r"$\Vert$",
    "→": r"$\to$",
    "·": r"$\cdot$",
    "µ": r"\textmu{}",
    "μ": r"\textmu{}",
    "°": r"\textdegree{}",
    "½": r"1/2",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    **{mark: f"$^{{{digit}}}$" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}
PLAIN = set(string.ascii_letters + string.digits + " .:;=+*/()[]@")


def escape(text: str) -> str:
    """Text that prints as it is, in one line; what no T1 font has, as `[U+1F525]`."""
    return "".join(_mark(character) for character in " ".join(text.split()))


def _mark(character: str) -> str:
    if character in PLAIN:
        return character
    found = COMMANDS.get(character) or SYMBOLS.get(character)
    if found is not None:
        return found
    if "À" <= character <= "ÿ":  # the letters of Latin-1: T1 fonts have them
        return character
    base = unicodedata.normalize("NFD", character)[0]
    return base if base in string.ascii_letters else f"[U+{ord(character):04X}]"


def table(
    label: str,
    caption: str,
    columns: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wide: bool = False,
) -> str:
    """A numbered table in IEEE's style: caption above, rules above and below head and body.

    `columns` is LaTeX's; all the rest is plain text.  A row that is empty is a rule.  `wide` takes
    both columns of the page.
    """
    place = "table*" if wide else "table"
    body = "\n".join(_row(row) if row else r"\hline" for row in rows)
    return f"""\
\\begin{{{place}}}[!{"t" if wide else "tbp"}]
\\caption{{{escape(caption)}}}
\\label{{{label}}}
\\centering
\\footnotesize
\\begin{{tabular}}{{{columns}}}
\\hline
{_row(head)}
\\hline
{body}
\\hline
\\end{{tabular}}
\\end{{{place}}}"""


def figure(label: str, caption: str, file: str, *, wide: bool = False) -> str:
    """A numbered figure from a file beside the paper."""
    place, width = ("figure*", r"\textwidth") if wide else ("figure", r"\columnwidth")
    return f"""\
\\begin{{{place}}}[!{"t" if wide else "tbp"}]
\\centering
\\includegraphics[width={width}]{{{file}}}
\\caption{{{escape(caption)}}}
\\label{{{label}}}
\\end{{{place}}}"""


def _row(cells: Sequence[str]) -> str:
    return " & ".join(escape(cell) for cell in cells) + r" \\"
