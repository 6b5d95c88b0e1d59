"""LaTeX: any text prints as it is, and never becomes a command."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.suite.report.latex import COMMANDS, SYMBOLS, escape, figure, table

WRITTEN = sorted({*COMMANDS.values(), *SYMBOLS.values()}, key=len, reverse=True)


@given(st.text())
def test_no_text_ever_reaches_latex_as_a_command(text: str) -> None:
    """What is left without the marks that `escape` writes is harmless."""
    left = escape(text)
    for mark in WRITTEN:
        left = left.replace(mark, "")
    assert re.fullmatch(r"[A-Za-z0-9 .:;=+*/()\[\]@À-ÿ]*", left)


@given(st.text())
def test_no_text_ever_breaks_its_line(text: str) -> None:
    assert "\n" not in escape(text)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_every_ascii_text_can_be_read_back(text: str) -> None:
    """No character is lost and no two become one: what is written says which they were."""
    back = {written: character for character, written in COMMANDS.items()}
    pattern = "|".join(re.escape(mark) for mark in sorted(back, key=len, reverse=True))
    said = re.sub(f"{pattern}|.", lambda m: back.get(m.group(), m.group()), escape(text))
    assert said == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("50 % of $5 & #1_a^b~{c}\\", None),
        ("8,192 × 8,192", r"8,{}192 $\times$ 8,{}192"),
        ("±5 µs ≤ 3", r"$\pm$5 \textmu{}s $\le$ 3"),
        ("Čapek, Ängström, 火", "Capek,{} Ängström,{} [U+706B]"),
        ("10⁹", "10$^{9}$"),
        ("--quick", "-{}-{}quick"),
        ("a\n b", "a b"),
    ],
)
def test_symbols_and_letters_print_as_they_are(text: str, written: str | None) -> None:
    said = escape(text)
    if written is not None:
        assert said == written
    else:
        assert said == (
            r"50 \% of \$5 \& \#1\_a\textasciicircum{}b\textasciitilde{}\{c\}\textbackslash{}"
        )


def test_a_table_escapes_all_that_it_is_given() -> None:
    written = table("tab:x", "A & B", "ll", ("#", "%"), [("a_b", "c&d"), (), ("e", "f")])
    assert r"\caption{A \& B}" in written
    assert r"\# & \% \\" in written
    assert r"a\_b & c\&d \\" in written
    assert written.count(r"\hline") == 4
    assert written.startswith(r"\begin{table}")


def test_a_figure_takes_one_column_or_both() -> None:
    assert r"\columnwidth" in figure("fig:x", "A", "a.pdf")
    assert figure("fig:x", "A", "a.pdf", wide=True).startswith(r"\begin{figure*}")
