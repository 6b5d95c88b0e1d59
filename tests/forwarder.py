"""A port that can be opened and shut while what is behind it stays where it is."""

import contextlib
import socket
import threading

LOOPBACK = "127.0.0.1"


class Forwarder:
    """Passes connections to a port of this machine on to another one, while it is `open`."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            self.port: int = probe.getsockname()[1]
        self._listening: socket.socket | None = None
        self._ends: list[socket.socket] = []

    def open(self) -> None:
        """Begin to take connections."""
        self._listening = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and cut those there are."""
        ends, self._ends = self._ends, []
        for end in [self._listening, *ends]:
            if end:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._listening = None

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is shut
            while True:
                near, _ = listening.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection((LOOPBACK, self._behind))
        except OSError:
            near.close()
            return
        self._ends += [near, far]
        for pair in ((near, far), (far, near)):
            threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            to.sendall(data)
    for end in (source, to):
        with contextlib.suppress(OSError):  # it is over already
            end.shutdown(socket.SHUT_RDWR)
