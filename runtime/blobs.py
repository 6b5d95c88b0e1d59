"""Large inputs and results, by reference, in any store that fsspec knows.

A key is `{invocation id}/{name}`.  A local folder is the default; writes there go to a temporary
name first, so that a blob is either whole or absent, whatever is killed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import unquote, urlsplit

CHUNK = 1024 * 1024


class Blobs:
    """A folder of blobs at an fsspec URL, such as `file:///var/lib/lumbre/blobs`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self.local = parts.scheme in ("", "file")
        self._fs: Any = None
        self._root = os.path.abspath(unquote(parts.path))
        if not self.local:
            import fsspec  # 80 ms that a node with a local folder can start without

            self._fs, self._root = fsspec.core.url_to_fs(self.url)

    def path(self, key: str) -> str:
        """The store's own path of a key; a file path where the store is a local folder."""
        return f"{self._root}/{key}"

    def write(self, key: str, data: bytes) -> None:
        with self.writer(key) as file:
            file.write(data)

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        """Open a blob for writing; it appears under its key only when the block ends well."""
        path = self.path(key)
        if not self.local:
            try:
                with self._fs.open(path, "wb") as file:
                    yield file
            except BaseException:  # closing has written what there was
                if self._fs.exists(path):
                    self._fs.rm(path)
                raise
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.part-{os.getpid()}"
        try:
            with open(temporary, "wb") as file:
                yield file
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise

    def read(self, key: str) -> bytes:
        """The whole blob; FileNotFoundError where there is none."""
        with self._open(key) as file:
            return file.read()

    def chunks(self, key: str) -> Iterator[bytes]:
        """The blob in pieces of at most 1 MiB."""
        with self._open(key) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def copy(self, key: str, to: str) -> None:
        """Make a second blob of the same bytes."""
        with self.writer(to) as file:
            for chunk in self.chunks(key):
                file.write(chunk)

    def size(self, key: str) -> int:
        """Bytes of a blob; FileNotFoundError where there is none."""
        if self.local:
            return os.stat(self.path(key)).st_size
        return int(self._fs.info(self.path(key))["size"])

    def delete(self, invocation: str) -> None:
        """Remove every blob of an invocation; none is fine too."""
        if self.local:
            shutil.rmtree(self.path(invocation), ignore_errors=True)
        elif self._fs.exists(self.path(invocation)):
            self._fs.rm(self.path(invocation), recursive=True)

    def _open(self, key: str) -> IO[bytes]:
        path = self.path(key)
        opened: IO[bytes] = open(path, "rb") if self.local else self._fs.open(path, "rb")  # noqa: SIM115
        return opened
