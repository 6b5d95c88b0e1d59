"""Open a page in the person's browser, where there is one that has a window."""

import os
import sys
import webbrowser
from pathlib import Path

WINDOWED = ("DISPLAY", "WAYLAND_DISPLAY")  # a browser in the terminal would take the screen over


def open_page(url: str) -> bool:
    """Whether a browser was asked to show the page; without a display, none is."""
    if not any(os.environ.get(name) for name in WINDOWED) and not _in_wsl():
        return False
    return webbrowser.open(url)


def _in_wsl() -> bool:
    """Whether this is the Windows Subsystem for Linux, whose browsers are those of Windows."""
    release = Path("/proc/sys/kernel/osrelease")
    return release.is_file() and "microsoft" in release.read_text().lower()


if __name__ == "__main__":
    open_page(sys.argv[1])
