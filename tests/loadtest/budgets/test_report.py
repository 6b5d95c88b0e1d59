"""The table and the section, as golden text."""

import io

from rich.console import Console

from loadtest.budgets.report import Report
from loadtest.budgets.row import Check, Row

ROWS = (
    Row("no-op | 16", "74.1 % of the echo", "Echo 9,978.", (Check(74.1, 70, "%", True),)),
    Row("p50", "0.31 ms more", "Echo 0.21 ms.", (Check(0.31, 0.25, "ms"),)),
    Row("202s", "2,000 a second", "Synced."),
    Row("queue", "0.5 KB each", "Held.", (Check(0.5, 1, "KB each"),), ("3 did not succeed",)),
)
REPORT = Report(
    ROWS,
    [("CPU", "Z80"), ("cores", "2")],
    "0.10, 0.2, 0.3",
    "1.90, 0.4, 0.3",
    61,
    False,
    "In turn.",
)

SECTION = """\
| what | budget | measured | met? |
| --- | --- | --- | --- |
| no-op \\| 16 | ≥ 70 % | 74.1 % of the echo | met |
| p50 | ≤ 0.25 ms | 0.31 ms more | missed by 0.06 ms (24 %) |
| 202s | none | 2,000 a second | measured |
| queue | ≤ 1 KB each | 0.5 KB each | 3 did not succeed |

### How

In turn.

### Each row

- **no-op | 16.** Echo 9,978.
- **p50.** Echo 0.21 ms.
- **202s.** Synced.
- **queue.** Held.

### Where

|  |  |
| --- | --- |
| CPU | Z80 |
| cores | 2 |
| load average | 0.10, 0.2, 0.3 before, 1.90, 0.4, 0.3 after |
| whole run | 61 s |
"""

TABLE = """\

  what         budget        measured             met?
 ───────────────────────────────────────────────────────────────────────
  no-op | 16   ≥ 70 %        74.1 % of the echo   met
  p50          ≤ 0.25 ms     0.31 ms more         missed by 0.06 ms (24
                                                  %)
  202s         none          2,000 a second       measured
  queue        ≤ 1 KB each   0.5 KB each          3 did not succeed

"""


def test_the_section_tells_what_how_and_where() -> None:
    assert REPORT.markdown() == SECTION


def test_a_quick_look_says_so_at_the_top_and_over_the_table() -> None:
    quick = Report(ROWS, [], "0", "0", 5, quick=True, method="")
    assert quick.markdown().startswith("**A quick look")
    assert "quick" in shown(quick)
    assert "quick" not in REPORT.markdown().lower()


def test_the_table_fits_a_terminal() -> None:
    assert shown(REPORT) == TABLE


def shown(report: Report) -> str:
    screen = io.StringIO()
    Console(file=screen, width=73, color_system=None).print(report.table())
    return "\n".join(line.rstrip() for line in screen.getvalue().split("\n"))
