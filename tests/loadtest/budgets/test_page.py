"""The page of benchmarks, whose sections are written one by one."""

from pathlib import Path

from loadtest.budgets.page import HEAD, SECTIONS, joined, put, sections

FIRST, SECOND, *_ = SECTIONS


def test_a_section_is_replaced_and_the_other_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    put(page, SECOND, "old\n\n### How\n\nsecond")
    put(page, FIRST, "first")
    put(page, SECOND, "new")
    assert page.read_text() == f"{HEAD}\n\n## {FIRST}\n\nfirst\n\n## {SECOND}\n\nnew\n"


def test_writing_a_section_again_changes_nothing(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    put(page, FIRST, "a\n\n### Where\n\n| b |\n")
    before = page.read_text()
    put(page, FIRST, "a\n\n### Where\n\n| b |\n")
    assert page.read_text() == before


def test_a_section_that_is_no_longer_written_is_dropped() -> None:
    text = f"# Old\n\nsaid\n\n## How\n\nhow\n\n## {FIRST}\n\nfirst\n"
    assert sections(text) == {"How": "how", FIRST: "first"}
    assert joined(sections(text), SECTIONS) == f"{HEAD}\n\n## {FIRST}\n\nfirst\n"
