"""`python -m loadtest.servers rabbitmq`: a private RabbitMQ for trying things out, until Ctrl-C."""

import signal
import tempfile
from pathlib import Path

from loadtest.servers.rabbit import RabbitServer


def run_rabbitmq() -> None:
    """Start one, say how to reach it, and stop it at the first signal; its data goes with it."""
    ending = {signal.SIGINT, signal.SIGTERM}
    with tempfile.TemporaryDirectory(prefix="lumbre-rabbitmq-") as folder:
        server = RabbitServer(Path(folder))
        server.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, ending)
        try:
            print(f"export LUMBRE_BROKER_URL={server.url()}")
            print(f"export LUMBRE_MANAGEMENT_URL={server.management_url}", flush=True)
            signal.sigwait(ending)
        finally:
            server.stop()
