"""Every fault has one name and one sentence, and nobody is blamed without a reason."""

import ssl

import httptools
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import faults
from loadtest.answer import Answer
from loadtest.faults import EXPLANATIONS, NO_FAULTS, Cut, NoAnswer, of_answer, of_error, told


def answer(status: int, kind: object = None) -> Answer:
    if kind is None:
        return Answer(status, {}, b"plain text")
    headers = {b"content-type": b"application/problem+json"}
    return Answer(status, headers, orjson.dumps({"type": kind, "detail": "d"}))


@pytest.mark.parametrize(
    ("given_answer", "name"),
    [
        (answer(200), "succeeded"),
        (answer(204), "succeeded"),
        (answer(202), "accepted"),
        (answer(429, "lumbre:Overloaded"), "throttled"),
        (answer(500, "lumbre:failed"), "failed"),
        (answer(502, "lumbre:dead"), "dead"),
        (answer(504, "lumbre:timed_out"), "timed_out"),
        (answer(409, "lumbre:cancelled"), "cancelled"),
        (answer(409, "lumbre:Conflict"), "rejected"),
        (answer(404), "unknown_function"),
        (answer(422, "lumbre:InvalidInput"), "invalid_input"),
        (answer(422, "lumbre:failed"), "failed"),
        (answer(413), "rejected"),
        (answer(301), "rejected"),
        (answer(503, "lumbre:Unavailable"), "unavailable"),
    ],
)
def test_an_answer_has_the_name_that_its_type_and_status_say(
    given_answer: Answer, name: str
) -> None:
    assert of_answer(given_answer) == name


@pytest.mark.parametrize("status", [500, 502, 504, 507])
def test_a_function_is_not_blamed_for_what_a_proxy_says(status: int) -> None:
    assert of_answer(answer(status)) == "server_error"
    assert of_answer(answer(status, "about:blank")) == "server_error"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refused"),
        (ConnectionResetError(), "reset"),
        (BrokenPipeError(), "reset"),
        (Cut(), "closed"),
        (NoAnswer(), "no_answer"),
        (httptools.HttpParserInvalidStatusError("what"), "bad_answer"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "tls"),
        (OSError(24, "Too many open files"), "unreachable"),
    ],
)
def test_a_request_without_an_answer_has_a_name(error: Exception, name: str) -> None:
    assert of_error(error) == name
    assert told(error)


@given(
    st.integers(200, 599),
    st.one_of(st.none(), st.text(), st.integers(-9, 9), st.sampled_from(sorted(faults.OUTCOMES))),
)
def test_every_answer_has_a_name_that_is_explained(status: int, kind: object) -> None:
    name = of_answer(answer(status, kind))
    assert name in EXPLANATIONS or name in NO_FAULTS
