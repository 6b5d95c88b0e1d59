"""Whether the role of a container is alive: the images' HEALTHCHECK.

A gateway or console answers at LUMBRE_PORT, a worker or recorder at LUMBRE_HEALTH_PORT, and a
container runs one of them, so that one answer will do.  Exit code 0 is alive, 1 is not.
"""

import http.client
import os
import sys
from collections.abc import Mapping

PORTS = {"LUMBRE_HEALTH_PORT": "8081", "LUMBRE_PORT": "8080"}  # with what the images set
PATIENCE = 2.0  # seconds for each; the images' --timeout is more than that for both


def alive(port: int) -> bool:
    """Whether /healthz there is answered with a 200 within 2 seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(environment: Mapping[str, str]) -> int:
    """The exit code."""
    ports = [int(environment.get(name) or default) for name, default in PORTS.items()]
    return 0 if any(alive(port) for port in ports if port) else 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
