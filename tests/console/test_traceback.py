"""Tracebacks: the user's frames are open, and those of libraries folded."""

import subprocess
import sysconfig

from hypothesis import given, settings
from hypothesis import strategies as st

from console.traceback import OURS, folded
from runtime.failure import describe_failure

PROPERTY = settings(deadline=None)
LIBRARY = (
    '  File "/x/lib/python3.11/site-packages/torch/nn.py", line 7, in forward\n    return f(x)'
)
MINE = '  File "/home/me/functions/train.py", line 3, in train\n    net(x)\n    ^^^^^^'
HEAD = "Traceback (most recent call last):"


def test_frames_of_libraries_are_folded_together() -> None:
    text = "\n".join([HEAD, MINE, LIBRARY, LIBRARY, MINE, "ValueError: no\n"])
    folds = list(folded(text))
    assert [fold.folded for fold in folds] == [False, True, False]
    assert [fold.frames for fold in folds] == [1, 2, 1]
    assert folds[0].text == f"{HEAD}\n{MINE}"
    assert folds[2].text == f"{MINE}\nValueError: no"


def test_the_standard_library_and_lumbre_itself_are_folded() -> None:
    standard = f'  File "{sysconfig.get_paths()["stdlib"]}/json/decoder.py", line 3, in decode'
    ours = f'  File "{OURS}/context.py", line 5, in progress'
    folds = list(folded("\n".join([HEAD, MINE, standard, ours, "ValueError: no"])))
    assert [(fold.folded, fold.frames) for fold in folds] == [(False, 1), (True, 2), (False, 0)]


def test_where_no_frame_is_the_users_all_of_it_is_open() -> None:
    folds = list(folded("\n".join([HEAD, LIBRARY, "ValueError: no"])))
    assert [fold.folded for fold in folds] == [False]


def test_what_really_was_raised_is_folded_by_its_files() -> None:
    try:
        subprocess.run(["/nowhere/at/all"])
    except OSError as error:
        told = describe_failure(error)["traceback"]
    folds = list(folded(told))
    assert [fold.folded for fold in folds] == [False, True, False]
    assert "subprocess.py" in folds[1].text and "subprocess.run" in folds[0].text


lines = st.lists(
    st.sampled_from([HEAD, MINE, LIBRARY, "ValueError: no", "", "    indented"]) | st.text()
)


@PROPERTY
@given(lines.map("\n".join))
def test_no_line_is_ever_lost(text: str) -> None:
    assert "\n".join(fold.text for fold in folded(text)) == text.rstrip("\n")
