"""The disk that blobs lie on, which can be full for a while."""

import os
import subprocess
import time
from pathlib import Path

SIZE = "2g"  # it may take in memory; what it holds is what counts


class Disk:
    """A folder that is a file system in memory where we may mount one (root), and is `full` then.

    Elsewhere it is a plain folder that nobody may write to while it is `full`; and where neither
    can be done (root without the right to mount), it cannot be filled.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.mounted = os.geteuid() == 0 and self._mount()

    @property
    def can_fill(self) -> bool:
        return self.mounted or os.geteuid() != 0

    def fill(self, seconds: float) -> None:
        """Have every write fail for so long: ENOSPC, or EACCES where it is a plain folder."""
        if self.mounted:
            while not self._resize(str(self._used())):  # somebody wrote more meanwhile
                continue
            time.sleep(seconds)
            self._resize(SIZE)
        else:
            self.folder.chmod(0o555)
            inner = [path for path in self.folder.iterdir() if path.is_dir()]
            for path in inner:
                path.chmod(0o555)
            time.sleep(seconds)
            for path in (self.folder, *inner):
                if path.exists():
                    path.chmod(0o755)

    def close(self) -> None:
        """Unmount it; what was in it is gone."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)
            self.mounted = False

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "lumbre-chaos"]
        done = subprocess.run([*command, str(self.folder)], capture_output=True, check=False)
        return done.returncode == 0

    def _used(self) -> int:
        space = os.statvfs(self.folder)
        return max(1, space.f_blocks - space.f_bfree) * space.f_bsize

    def _resize(self, size: str) -> bool:
        """Give it another size; False where it holds more than that."""
        command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
