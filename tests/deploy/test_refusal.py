"""Values that cannot work are refused, each by its name and with what to write instead."""

from typing import Any

import pytest

from deploy.refusal import check_values
from deploy.values import OVERLAYS, read_values
from runtime.errors import ConfigurationError
from tests.deploy.variants import AUTHORITY, EXTERNAL, VARIANTS, variant


def external(**changed: Any) -> dict[str, Any]:
    return {"broker": EXTERNAL | changed}


def route(**fields: Any) -> dict[str, Any]:
    return {"gateway": {"insecure": False, "route": fields}}


@pytest.mark.parametrize("name", VARIANTS)
def test_values_that_work_are_taken(name: str) -> None:
    check_values(variant(name))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            external(url=""),
            "broker.url is missing: with broker.kind: external write, say, amqps://",
        ),
        (external(management_url=""), "broker.management_url is missing"),
        (external(url="amqp://u:geheim@a/"), "broker.url has a user in it"),
        (external(management_url="http://u:geheim@a"), "broker.management_url has a user in it"),
        (external(url="http://a"), "broker.url: LUMBRE_BROKER_URL: it must begin with amqp://"),
        (external(management_url="a:15672"), "broker.management_url='a:15672' is no such URL"),
        (external(management_url="http://a:x"), "broker.management_url='http://a:x' is no such"),
        ({"broker": {"url": "amqp://a"}}, "broker.url is of a broker elsewhere"),
        ({"broker": {"ca": AUTHORITY}}, "broker.ca is of a broker elsewhere"),
        (external(ca="ca.pem"), "broker.ca: no certificate can be read in it: write the text of"),
        (
            external(ca=AUTHORITY, url="amqp://a/"),
            "broker.url=amqp://a/: broker.ca is for TLS: write amqps://, or leave broker.ca out",
        ),
        (external(ca=AUTHORITY, management_url="http://a:1"), "for TLS: write https://"),
        ({"broker": {"nodes": 3}}, "broker.nodes=3: one pod is no cluster: write broker.kind: op"),
        (
            {"broker": {"kind": "operator", "nodes": 2, "secret": "lumbre-rabbitmq-default-user"}},
            "broker.nodes=2: a queue needs most of its copies",
        ),
        ({"broker": {"kind": "operator"}}, "broker.secret=lumbre-broker: the cluster operator"),
        ({"broker": {"secret": ""}}, "broker.secret='': it must be the name of a Secret"),
        ({"database": {"secret": "A B"}}, "database.secret='A B': it must be the name of a Secret"),
        ({"blobs": {"url": "bucket/x"}}, "blobs.url='bucket/x': write the URL of an object store"),
        ({"blobs": {"url": "file:///x"}}, "blobs.url='file:///x': write the URL of an object"),
        ({"blobs": {"url": "s3://k:geheim@b/x"}}, "blobs.url has a user in it"),
        ({"recorder": {"replicas": 2}}, "cannot be shared by pods of several"),
        (
            {"gateway": {"replicas": 4, "max_replicas": 2}, "blobs": {"url": "s3://b"}},
            "gateway.max_replicas=2 is less than gateway.replicas=4",
        ),
        (
            {"gateway": {"route": {"kind": "ingress", "host": "a.example"}}},
            "gateway.insecure with gateway.route.kind: ingress",
        ),
        (route(kind="ingress"), "gateway.route.host is missing"),
        (route(kind="ingress", host="https://a"), "gateway.route.host='https://a': write a name"),
        (route(kind="ingress", host="a", gateway="b"), "gateway.route.gateway is of an HTTPRoute"),
        (route(kind="httproute", host="a"), "gateway.route.gateway='': kind: httproute needs"),
        (route(kind="httproute", host="a", gateway="b/c/d"), "gateway.route.gateway='b/c/d'"),
        (
            route(kind="httproute", host="a", gateway="b", tls_secret="c"),
            "gateway.route.tls_secret is of an Ingress",
        ),
        ({"callbacks": {"secret": "a"}}, "callbacks.secret signs what is sent"),
        ({"callbacks": {"hosts": ["http://a"]}}, "callbacks.hosts: LUMBRE_CALLBACK_HOSTS has an"),
        ({"settings": {"colour": "red"}}, "settings.colour: there is no such setting"),
        ({"settings": {"callback_secret": "x"}}, "settings.callback_secret is secret"),
        ({"settings": {"broker_password": "x"}}, "settings.broker_password is secret"),
        ({"settings": {"broker_url": "x"}}, "settings.broker_url: it follows from other values"),
        ({"settings": {"host": "x"}}, "settings.host: it follows from other values"),
        ({"settings": {"max_body": "much"}}, "settings.max_body='much': Input should be a valid"),
        ({"settings": {"max_body": "1"}}, "settings.max_body='1': Input should be greater than"),
        ({"settings": {"log_level": "loud"}}, "settings.log_level='loud': Input should be"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_values(read_values("dev", overrides=overrides))
    lines = str(caught.value).splitlines()
    assert any(told in line for line in lines), lines
    assert "geheim" not in str(caught.value)


def test_settings_of_every_kind_are_taken() -> None:
    taken = {"retention_age": "0", "log_level": "debug", "read_only": "true", "queue_limit": "5"}
    for overlay in OVERLAYS:
        check_values(read_values(overlay, overrides={"settings": taken}))


def test_numbers_and_truths_are_taken_for_text_where_it_is_text() -> None:
    said = {
        "settings": {"queue_limit": 5, "read_only": True, "retention_age": 0.5},
        "workers": {"env": {"OMP_NUM_THREADS": 2}},
        "gpus": {"nodes": {"gpu": [True]}},
    }
    values = read_values("dev", overrides=said)
    check_values(values)
    assert values.settings == {"queue_limit": "5", "read_only": "true", "retention_age": "0.5"}
    assert values.workers.env == {"OMP_NUM_THREADS": "2"}
    assert values.gpus.nodes == {"gpu": ("true",)}


def test_all_faults_are_told_at_once() -> None:
    wrong = external(url="", management_url="") | {"settings": {"colour": "red"}}
    with pytest.raises(ConfigurationError) as caught:
        check_values(read_values("production", overrides=wrong))
    assert len(str(caught.value).splitlines()) == 3
