"""Windows of rollups for tests, made by hand or by Hypothesis."""

from hypothesis import settings
from hypothesis import strategies as st

from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.model import DEVICES, TERMINAL, Device
from runtime.rollup import LAST_BIN, WIDTHS, Cell

START = 1_700_000_400.0  # a multiple of every width

few = settings(max_examples=40, deadline=None)  # a window is much to make up

_BINS = st.dictionaries(st.integers(0, LAST_BIN), st.integers(1, 1000), max_size=4)
_GAUGE = st.integers(0, 50)


def window(
    cells: dict[tuple[str, Device], list[Cell | None]] | None = None,
    decisions: list[ScalingDecision] | None = None,
    count: int = 4,
    width: int = 5,
) -> Window:
    """A window; rows of cells that are too short go on with nothing."""
    full = {key: [*row, *[None] * (count - len(row))] for key, row in (cells or {}).items()}
    return Window(START, width, count, full, decisions or [])


def decision(at: float, before: int, after: int, function: str = "f") -> ScalingDecision:
    """One about the CPU, at so many seconds into a window."""
    return ScalingDecision(START + at, function, "cpu", before, after, "backlog 9", 9)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """A cell as recorders and samplers make them: its times are those of what succeeded."""
    total = draw(_BINS)
    others = draw(
        st.dictionaries(st.sampled_from(sorted(TERMINAL - {"succeeded"})), st.integers(1, 1000))
    )
    statuses = {status.value: count for status, count in others.items()}
    if total:
        statuses["succeeded"] = sum(total.values())
    names = ("ready", "unacknowledged", "starting", "idle", "busy", "draining")
    cell = Cell(statuses=statuses, total=total, simulated=draw(st.integers(0, 3)))
    for name in names:
        setattr(cell, name, draw(_GAUGE))
    return cell


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Any window that a history could give, but for its length, which is short as a rule."""
    width = draw(st.sampled_from(WIDTHS))
    count = draw(st.one_of(st.integers(1, 12), st.just(300)))
    keys = draw(
        st.sets(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(DEVICES)), max_size=12)
    )
    some = st.lists(st.one_of(st.none(), cells()), max_size=min(count, 4))
    rows = {key: draw(some) for key in sorted(keys)}
    made = draw(st.lists(st.tuples(st.integers(0, width * count - 1), _GAUGE, _GAUGE), max_size=5))
    decisions = [
        decision(at, before, after, name)
        for (at, before, after), name in zip(sorted(made), "abcde", strict=False)
    ]
    return window({**rows}, decisions, count, width)
