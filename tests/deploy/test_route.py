"""Routes from outside: they wait as long as gateways do, and let streams stream."""

from typing import Any

import pytest

from deploy.configmap import configmap
from deploy.route import route
from deploy.values import Values, read_values


def values(overlay: str = "production", **fields: Any) -> Values:
    return read_values(overlay, overrides={"gateway": {"route": fields}})


def test_without_a_route_there_is_none() -> None:
    assert route(read_values("dev")) == []


def test_an_ingress_waits_longer_than_a_caller_may_and_takes_the_largest_input() -> None:
    (ingress,) = route(values())
    told = ingress["metadata"]["annotations"]
    assert told["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "310"
    assert told["nginx.org/proxy-read-timeout"] == told["haproxy.org/timeout-server"] == "310s"
    assert told["nginx.ingress.kubernetes.io/proxy-body-size"] == "65m"  # 64 MiB, and a margin
    assert told["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    larger = read_values("production", overrides={"settings": {"max_body": str(2**30 + 1)}})
    (ingress,) = route(larger)
    assert ingress["metadata"]["annotations"]["nginx.org/client-max-body-size"] == "1026m"


def test_annotations_of_ones_own_count_more() -> None:
    own = {"cert-manager.io/cluster-issuer": "acme", "nginx.org/proxy-buffering": "True"}
    (ingress,) = route(values(annotations=own))
    assert own.items() <= ingress["metadata"]["annotations"].items()


def test_an_ingress_has_tls_and_a_class_where_they_are_named() -> None:
    (ingress,) = route(values(ingress_class="nginx"))
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": ["lumbre.example"], "secretName": "lumbre-tls"}]
    (plain,) = route(values(tls_secret=""))
    assert "tls" not in plain["spec"] and "ingressClassName" not in plain["spec"]


def test_an_httproute_waits_as_long_and_never_ends_a_stream_of_events() -> None:
    (found,) = route(values(kind="httproute", tls_secret="", gateway="edge/public"))
    assert found["spec"]["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    stream, others = found["spec"]["rules"]
    assert stream["matches"][0]["headers"] == [
        {"type": "Exact", "name": "accept", "value": "text/event-stream"}
    ]
    assert stream["timeouts"] == {"request": "0s"}  # Gateway API: none
    assert others["timeouts"] == {"request": "310s"}
    (near,) = route(values(kind="httproute", tls_secret="", gateway="public"))
    assert near["spec"]["parentRefs"] == [{"name": "public"}]


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://lumbre.example"),
        ({"tls_secret": ""}, "http://lumbre.example"),
        ({"kind": "httproute", "tls_secret": "", "gateway": "a"}, "https://lumbre.example"),
        ({"kind": "none", "host": ""}, None),
    ],
)
def test_callbacks_name_the_url_that_callers_know(fields: dict[str, Any], url: str | None) -> None:
    (found,) = configmap([], values(**fields))
    assert found["data"].get("LUMBRE_PUBLIC_URL") == url
