"""The files of a report, each written whole or not at all."""

import contextlib
import secrets
from collections.abc import Iterable
from pathlib import Path

from runtime.errors import LumbreError


class UnwritableReport(LumbreError):
    """A folder that a report cannot be written to."""

    title = "Unwritable report"


def write(folder: Path, files: Iterable[tuple[str, bytes]]) -> list[Path]:
    """Write files, by their names in a folder, each as it comes; their paths.

    Whoever reads one finds the old one or the new one, whole.  UnwritableReport says which could
    not be written; those before it were.
    """
    return [_put(folder / name, content) for name, content in files]


def check(folder: Path) -> None:
    """Raise UnwritableReport now, rather than when all is measured; nothing is left behind."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        _put(folder / f"report.{secrets.token_hex(4)}", b"").unlink()
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it was not made after all
                path.rmdir()


def _put(path: Path, content: bytes) -> Path:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableReport(
            f"{path} cannot be written ({error.strerror or error}): name another folder, one that"
            " you may write to"
        ) from error
    return path
