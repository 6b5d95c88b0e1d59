"""A container's HTTP and TCP probes, as a kubelet looks at them."""

import http.client
import socket
import time

from tests.cluster.api import Object


class Probe:
    """One probe of a container: whether it has passed, or failed too often, since the start."""

    def __init__(self, spec: Object, address: str, ports: dict[str, int], began: float) -> None:
        self.spec, self._address = spec, address
        self._action: Object = spec.get("httpGet") or spec["tcpSocket"]
        port = self._action["port"]
        self._port = ports.get(port, 0) if isinstance(port, str) else int(port)
        self._due = began + spec.get("initialDelaySeconds", 0)
        self._passed = self._missed = 0
        self.passing = self.failing = False

    def look(self) -> None:
        """Probe once, where it is time for that."""
        if time.monotonic() < self._due:
            return
        passed = self._answered()
        self._due = time.monotonic() + self.spec.get("periodSeconds", 10)
        self._passed, self._missed = (self._passed + 1, 0) if passed else (0, self._missed + 1)
        if self._passed >= self.spec.get("successThreshold", 1):
            self.passing, self.failing = True, False
        if self._missed >= self.spec.get("failureThreshold", 3):
            self.passing, self.failing = False, True

    def _answered(self) -> bool:
        timeout = self.spec.get("timeoutSeconds", 1)
        try:
            if "tcpSocket" in self.spec:
                socket.create_connection((self._address, self._port), timeout).close()
                return True
            connection = http.client.HTTPConnection(self._address, self._port, timeout=timeout)
            try:
                connection.request("GET", self._action.get("path", "/"))
                return 200 <= connection.getresponse().status < 400
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return False
