import ssl

import pytest
from pika import exceptions  # type: ignore[import-untyped]

from runtime.brokers.rabbitmq import Address
from runtime.brokers.rabbitmq.trouble import (
    ChannelClosed,
    cause,
    refused_declaration,
    unmendable,
)
from runtime.errors import ConfigurationError

ADDRESS = Address.parse("amqp://ana:secret@rabbit/v")


def closed(code: int, text: str) -> ChannelClosed:
    return ChannelClosed.by(exceptions.ChannelClosedByBroker(code, text))


@pytest.mark.parametrize(
    ("received", "current", "said"),
    [
        ("the value '30' of type 'signedint'", "the value '20' of type 'signedint'", "= 20"),
        ("the value '30' of type 'signedint'", "none", "= none"),
        ("'quorum'", "'classic'", "= classic"),
    ],
)
def test_arguments_that_differ_are_named(received: str, current: str, said: str) -> None:
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'f.cpu' in vhost"
        f" '/v': received {received} but current is {current}"
    )
    error = refused_declaration(closed(406, text), "f.cpu", ADDRESS)
    assert isinstance(error, ConfigurationError)
    assert "queue f.cpu" in str(error) and f"x-delivery-limit {said}" in str(error)
    assert "delete it" in str(error)


def test_a_missing_permission_names_the_user_and_the_command() -> None:
    text = "ACCESS_REFUSED - configure access to queue 'f.cpu' in vhost '/v' refused for user 'ana'"
    error = refused_declaration(closed(403, text), "f.cpu", ADDRESS)
    assert isinstance(error, ConfigurationError)
    assert "'ana'" in str(error) and "set_permissions" in str(error)


@pytest.mark.parametrize(
    ("code", "text", "missing"),
    [
        (404, "NOT_FOUND - no queue 'f.cpu' in vhost '/v'", True),
        (
            404,
            "NOT_FOUND - home node 'r@h' of durable queue 'f.cpu' is down or inaccessible",
            False,
        ),
        (320, "CONNECTION_FORCED - shutdown", False),
    ],
)
def test_a_queue_that_is_not_up_yet_is_not_missing(code: int, text: str, missing: bool) -> None:
    assert closed(code, text).missing is missing


def test_a_channel_that_is_lost_is_no_matter_of_configuration() -> None:
    error = ChannelClosed(0, "the connection was cut")
    assert refused_declaration(error, "f.cpu", ADDRESS) is error


def test_what_waiting_may_mend_is_not_unmendable() -> None:
    away = exceptions.AMQPConnectionError(ConnectionRefusedError(111, "Connection refused"))
    assert unmendable(away, ADDRESS) is None
    assert cause(away) == "connection refused"
    assert unmendable(exceptions.StreamLostError("Transport indicated EOF"), ADDRESS) is None


def test_a_certificate_that_is_not_trusted_says_so() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    told = unmendable(exceptions.AMQPConnectionError(error), ADDRESS)
    assert isinstance(told, ConfigurationError)
    assert "self-signed certificate" in str(told)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (exceptions.AMQPHeartbeatTimeout("No activity"), "no heartbeat came from the server"),
        (exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - bye"), "bye (320)"),
        (exceptions.ConnectionBlockedTimeout("x"), "the server kept the connection blocked"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_causes_are_told_in_few_words(error: Exception, said: str) -> None:
    assert cause(error) == said
