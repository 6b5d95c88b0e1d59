"""`python -m loadtest.servers`: print the Debian packages that are missing for the servers.

Nothing is printed where all is there.  `make servers` installs what this says.  With the word
`rabbitmq`, run a private RabbitMQ until Ctrl-C, and print how to reach it.
"""

import sys

from loadtest.servers import certificate, postgres, rabbit
from loadtest.servers.foreground import run_rabbitmq
from loadtest.servers.guarded import Missing


def missing() -> list[str]:
    """Packages to install."""
    found = []
    for look in (rabbit.scripts, postgres.programs, certificate.require):
        try:
            look()
        except Missing as error:
            found.append(error.package)
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["rabbitmq"]:
        run_rabbitmq()
    else:
        print(*missing())
