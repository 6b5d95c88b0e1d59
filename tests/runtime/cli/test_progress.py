"""How long work goes: a log gets lines, a terminal gets one that changes."""

import io

import pytest
from rich.console import Console

from runtime.cli.progress import Lines, Live, shown_progress


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=100, highlight=False), written


def test_a_log_is_told_what_is_waited_for_once() -> None:
    to, written = console(terminal=False)
    lines = Lines(to)
    for text in ("a", "a", "b"):
        lines.waiting(f"waiting for {text}")
    lines.step("a is ready")
    assert written.getvalue().splitlines() == ["waiting for a", "waiting for b", "a is ready"]


def test_a_long_line_is_not_broken_and_markup_is_text() -> None:
    to, written = console(terminal=False)
    Lines(to).step("[red]" + "x" * 200)
    assert written.getvalue() == "[red]" + "x" * 200 + "\n"


def test_a_terminal_shows_what_is_waited_for_below_what_is_done() -> None:
    to, written = console(terminal=True)
    with to.status("") as status:
        live = Live(to, status)
        live.waiting("waiting for [b]")
        live.step("a is ready")
        assert "waiting for [b]" in str(status.status)
    assert "a is ready\n" in written.getvalue()


def test_where_nobody_looks_it_is_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as progress:
        assert isinstance(progress, Lines)
        progress.step("done")
    assert capsys.readouterr().out == "done\n"
