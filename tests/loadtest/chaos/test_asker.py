"""What an answer says: an outcome, a refusal that is to be tried again, or neither."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from loadtest.chaos.asker import Asker, Request, outcome, was_refused
from loadtest.chaos.order import digest
from loadtest.chaos.receipt import Receipts, Told
from loadtest.servers.guarded import free_ports

ENDED = {"invocation-attempt": "2"}
REFUSED = {"error": {"type": "BrokerAway"}}


def test_a_result_is_told_by_its_digest_whatever_its_spacing() -> None:
    found = outcome(httpx.Response(200, headers=ENDED, json={"number": 1}))
    assert found == Told("succeeded", 2, digest({"number": 1}))
    found = outcome(httpx.Response(200, headers=ENDED, content=b"\x00\x01"))
    assert found == Told("succeeded", 2, digest(b"\x00\x01"))


def test_a_failure_is_told_by_its_status() -> None:
    problem = {"type": "urn:lumbre:problem:timed_out"}
    assert outcome(httpx.Response(504, headers=ENDED, json=problem)) == Told("timed_out", 2, None)


def test_an_answer_without_an_attempt_is_no_outcome() -> None:
    assert outcome(httpx.Response(202, json={"id": "a"})) is None


def test_only_what_the_broker_did_not_take_is_to_be_sent_again() -> None:
    assert was_refused(httpx.Response(409, json=REFUSED))
    assert not was_refused(httpx.Response(409, json={"error": {"type": "Cancelled"}}))
    assert not was_refused(httpx.Response(409, text="no JSON"))
    assert not was_refused(httpx.Response(200, json=REFUSED))


class Gateway:
    """Answers with one status after the other, and with the last of them for ever."""

    def __init__(self, *statuses: int) -> None:
        self.asked = 0
        self._statuses = statuses
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Gateway":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                statuses = gateway._statuses
                self.send_response(statuses[min(gateway.asked, len(statuses) - 1)])
                gateway.asked += 1
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Nobody reads it."""

        return Handler


async def test_who_is_refused_or_cut_off_asks_the_next_until_one_answers() -> None:
    receipts = Receipts()
    with Gateway(503, 200) as there:
        asker = Asker([f"http://127.0.0.1:{free_ports(1)[0]}", there.url], receipts)
        answer = await asker.insist(Request("GET", "/x"))
        await asker.close()
    assert answer is not None and answer.status_code == 200
    assert there.asked == 2
    assert receipts.refusals["ConnectError"] and receipts.refusals["503"] == 1
    assert not receipts.problems


async def test_who_is_refused_for_too_long_gives_up_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loadtest.chaos.asker.GIVE_UP", 0.2)
    receipts = Receipts()
    with Gateway(503) as there:
        asker = Asker([there.url], receipts)
        assert await asker.insist(Request("GET", "/x")) is None
        await asker.close()
    assert there.asked
    assert len(receipts.problems) == 1 and "GET /x was refused" in receipts.problems[0]
