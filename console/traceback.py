"""A traceback as people read it: the user's own frames open, those of libraries folded away."""

import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

FRAME = re.compile(r'  File "(?P<file>[^"\n]*)", line \d+')
OURS = str(Path(__file__).parents[1] / "runtime")
_LIBRARIES = ("/site-packages/", "/dist-packages/", "<frozen ", "<__array_function__")
_STANDARD = sysconfig.get_paths()["stdlib"]


@dataclass(frozen=True, slots=True)
class Fold:
    """Some lines of a traceback that stand together."""

    text: str
    folded: bool  # frames of libraries
    frames: int


def folded(traceback: str) -> Iterator[Fold]:
    """A traceback in runs of lines: what is the user's, and what is folded.

    Frames of installed packages, of the standard library and of Lumbre are folded; headings and
    what was raised are not.  A traceback in which no frame is the user's is not folded at all.
    """
    blocks = list(_blocks(traceback.rstrip("\n")))
    of_users = any(frame and not _is_folded(text) for text, frame in blocks)
    for is_folded, run in groupby(blocks, key=lambda block: of_users and _is_folded(block[0])):
        parts = list(run)
        yield Fold("\n".join(text for text, _ in parts), is_folded, sum(f for _, f in parts))


def _blocks(traceback: str) -> Iterator[tuple[str, bool]]:
    """Frames with their source lines, and every other line by itself."""
    frame: list[str] = []
    for line in traceback.split("\n"):
        if FRAME.match(line):
            if frame:
                yield "\n".join(frame), True
            frame = [line]
        elif frame and line.startswith("    "):
            frame.append(line)
        else:
            if frame:
                yield "\n".join(frame), True
            frame = []
            yield line, False
    if frame:
        yield "\n".join(frame), True


def _is_folded(block: str) -> bool:
    found = FRAME.match(block)
    if not found:
        return False
    file = found["file"]
    return file.startswith((OURS, _STANDARD)) or any(part in file for part in _LIBRARIES)
