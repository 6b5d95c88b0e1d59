"""A trigger that KEDA would admit, and that would then fail or end busy pods, is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.trigger import check_trigger, number, push_trigger, rabbitmq_trigger
from runtime.errors import ConfigurationError
from runtime.function import Scaling
from tests.specs import scalings

ADDRESS = "lumbre-gateway.lumbre.svc:6000"


def rabbitmq(**metadata: Any) -> dict[str, Any]:
    """The rendered trigger, with other metadata; None leaves a name out."""
    trigger = rabbitmq_trigger("matmul", "gpu", Scaling())
    merged = trigger["metadata"] | metadata
    return trigger | {"metadata": {n: v for n, v in merged.items() if v is not None}}


def refusal(trigger: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_trigger(trigger)
    return str(caught.value)


@settings(deadline=None)
@given(scalings())
def test_what_is_rendered_is_never_refused(scaling: Scaling) -> None:
    check_trigger(rabbitmq_trigger("matmul", "gpu", scaling, vhost="jobs"))
    check_trigger(push_trigger("matmul", "gpu", scaling, address=ADDRESS))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"protocol": "amqp"},
            'protocol is amqp: write "http". Over amqp KEDA sees ready messages',
        ),
        ({"protocol": None}, 'protocol is auto: write "http"'),
        ({"excludeUnacknowledged": "true"}, "a busy replica counts for nothing"),
        ({"excludeUnacknowledged": "1"}, "a busy replica counts for nothing"),
        ({"mode": "MessageRate"}, "mode is 'MessageRate': write QueueLength"),
        ({"mode": "queuelength"}, "mode is 'queuelength': write QueueLength"),
        ({"mode": None}, "mode is None: write QueueLength"),
        ({"queueName": None}, "queueName is missing"),
        ({"queueName": ""}, "queueName is missing"),
        ({"value": None}, "value is None: give the backlog per replica"),
        ({"value": "0"}, "value is '0'"),
        ({"value": "-1"}, "value is '-1'"),
        ({"value": "0.0004"}, "value is '0.0004'"),
        ({"value": "two"}, "value is 'two'"),
        ({"value": "1_0"}, "value is '1_0'"),
        ({"value": "nan"}, "value is 'nan'"),
        ({"value": "inf"}, "value is 'inf'"),
        ({"value": 2}, "value is 2, and KEDA takes texts only"),
        ({"activationValue": "-1"}, "activationValue is '-1'"),
        ({"activationValue": True}, "activationValue is True, and KEDA takes texts only"),
        ({"host": "http://me:secret@rabbit:15672/"}, "host has credentials"),
        ({"exludeUnacknowledged": "false"}, "exludeUnacknowledged is unknown to KEDA's scaler"),
        ({"queueLength": "5"}, "queueLength is unknown"),
        ({"useRegex": "true"}, "useRegex adds up several queues"),
        ({"vhostName": "my jobs"}, "vhostName has a space"),
    ],
)
def test_a_bad_trigger_is_refused_with_what_to_write(metadata: dict[str, Any], said: str) -> None:
    message = refusal(rabbitmq(**metadata))
    assert said in message
    assert "secret" not in message  # a password is never repeated


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refusal(rabbitmq(protocol="amqp", mode="MessageRate", value="0"))
    assert len(message.splitlines()) == 3
    assert all(line.startswith("rabbitmq trigger: metadata.") for line in message.splitlines())


def test_what_is_not_metadata_is_looked_at_too() -> None:
    assert "metricType is Value" in refusal(rabbitmq() | {"metricType": "Value"})
    assert "metricTyp is no field" in refusal(rabbitmq() | {"metricTyp": "AverageValue"})
    assert "no metadata" in refusal({"type": "rabbitmq"})
    assert "trigger type 'cron'" in refusal({"type": "cron", "metadata": {}})
    lost = {name: part for name, part in rabbitmq().items() if name != "authenticationRef"}
    assert "nothing says where RabbitMQ is" in refusal(lost)
    check_trigger(lost | {"metadata": lost["metadata"] | {"hostFromEnv": "RABBIT_URL"}})
    check_trigger(rabbitmq(host="http://rabbit:15672/", excludeUnacknowledged=None))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"scalerAddress": "lumbre-gateway"}, "scalerAddress is 'lumbre-gateway': give HOST:PORT"),
        ({"scalerAddress": "http://lumbre-gateway:6000"}, "give HOST:PORT"),
        ({"queueName": ""}, "queueName is missing"),
        ({"function": "f"}, "function"),
        ({"value": "0"}, "value is '0'"),
        ({"protocol": "http"}, "protocol is unknown"),
    ],
)
def test_a_bad_push_trigger_is_refused(metadata: dict[str, Any], said: str) -> None:
    trigger = push_trigger("matmul", "gpu", Scaling(), address=ADDRESS)
    assert said in refusal(trigger | {"metadata": trigger["metadata"] | metadata})


@given(st.floats(0, 1e300))
def test_a_number_is_the_same_as_text(amount: float) -> None:
    assert float(number(amount)) == amount
    assert "e" not in number(amount)
