"""Windows added up; above all how many replicas there were, and that nothing is counted twice."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from console.digest import GAUGES, Digest, Digests, Key, Total, digest, merged, serving
from runtime.history import Window
from runtime.model import DEVICES, TERMINAL, Device
from runtime.rollup import Cell
from tests.console.windows import cells, few, window, windows


@few
@given(windows())
def test_the_replicas_of_a_device_are_always_those_of_its_functions(given_window: Window) -> None:
    for device in DEVICES:
        rows = [row for key, row in given_window.cells.items() if key[1] == device]
        for place, count in enumerate(serving(given_window, device)):
            assert count == sum(cell.idle + cell.busy for row in rows if (cell := row[place]))


@few
@given(windows())
def test_a_digest_is_always_the_sum_of_its_cells(given_window: Window) -> None:
    found = digest(given_window)
    for key, row in given_window.cells.items():
        there = [cell for cell in row if cell]
        assert found.totals[key].statuses == merged(cell.statuses for cell in there)
        assert found.totals[key].times == merged(cell.total for cell in there)
    for place in range(given_window.count):
        there = [cell for row in given_window.cells.values() if (cell := row[place])]
        for status in TERMINAL:
            count = sum(cell.statuses.get(status, 0) for cell in there)
            assert found.ended(status)[place] == count
        for name in GAUGES:
            assert found.gauge(name)[place] == sum(getattr(cell, name) for cell in there)
    for device in DEVICES:
        assert found.all_times(device) == merged(found.times(device))


KEYS: list[Key] = [(name, device) for name in "ab" for device in DEVICES]


@st.composite
def later(draw: st.DrawFn, before: Window) -> Window:
    """A window that may follow another: later by some buckets, with cells that grew or are new."""
    by = draw(st.integers(0, before.count + 1))
    keys: list[tuple[str, Device]] = sorted(draw(st.sets(st.sampled_from(KEYS))))
    rows: dict[Key, list[Cell | None]] = {}
    for key in keys:
        row = [*before.cells.get(key, [None] * before.count), *[None] * by][by:]
        place = draw(st.integers(0, before.count - 1))
        row[place] = draw(st.one_of(st.none(), cells()))
        rows[key] = row
    return replace(before, start=before.start + by * before.width, cells=rows)


@few
@given(st.data())
def test_a_digest_that_goes_on_from_those_before_is_always_as_if_it_were_the_first(
    data: st.DataObject,
) -> None:
    kept = Digests()
    following = window(count=data.draw(st.integers(1, 4)))
    for _ in range(5):
        following = data.draw(later(following))
        assert said(kept.of(following)) == said(digest(following))


def said(found: Digest) -> list[object]:
    """A digest, but for totals of nothing."""
    totals = {key: total for key, total in found.totals.items() if total != Total()}
    return [found.points(), found.columns, totals, found.serving]
