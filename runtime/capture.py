"""Captured output: the beginning and the end of what was written, however much that was."""

HEAD = 192 * 1024  # bytes kept from the beginning
TAIL = 64 * 1024  # bytes kept from the end


class Capture:
    """Bytes that one invocation wrote to standard output and error."""

    __slots__ = ("_head", "_tail", "written")

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self.written = 0

    def add(self, data: bytes) -> None:
        self.written += len(data)
        room = HEAD - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data[-TAIL:]
            del self._tail[:-TAIL]

    def text(self) -> str:
        """What was written, with a line that says how many bytes were left out, if any were."""
        left_out = self.written - len(self._head) - len(self._tail)
        between = f"\n[… {left_out:,} bytes left out …]\n".encode() if left_out else b""
        return bytes(self._head + between + self._tail).decode(errors="replace")

    def last(self, size: int) -> str:
        """The last `size` bytes that were kept."""
        return bytes((self._head + self._tail)[-size:]).decode(errors="replace")
