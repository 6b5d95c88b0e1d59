"""The images' health check: one answer of the role that runs will do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.healthcheck import PORTS, main
from tests.deploy.test_containerfiles import FILES, environment
from tests.deploy.test_scripts import free_port


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server on a port of its own that answers /healthz with a status, and else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield str(server.server_port)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("role", PORTS)
def test_a_role_that_answers_is_alive_on_whichever_port(role: str) -> None:
    with answering(200) as port:
        assert main({name: str(free_port()) for name in PORTS} | {role: port}) == 0


def test_a_role_that_answers_nothing_or_something_else_is_not() -> None:
    nobody = {name: str(free_port()) for name in PORTS}
    assert main(nobody) == 1
    with answering(503) as port:
        assert main(nobody | {"LUMBRE_HEALTH_PORT": port}) == 1


def test_a_port_of_zero_is_none() -> None:
    assert main({name: "0" for name in PORTS}) == 1


def test_the_ports_are_those_that_the_images_set() -> None:
    variables = environment(FILES["cpu"], "gateway")
    assert {name: variables[name] for name in PORTS} == PORTS
