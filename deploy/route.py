"""How callers outside the cluster reach gateways: an Ingress, or an HTTPRoute of the Gateway API.

A route that gives up before the gateway does turns answers into errors, so that it waits for
`gateway.max_wait` and 10 seconds more.  Streams of events last as long as an invocation.
"""

from deploy.gateway import GATEWAY, longest_wait
from deploy.pod import GATEWAY_PORT, HTTP, Object, labels, metadata
from deploy.values import Values
from runtime.settings import Settings

MARGIN = 2**20  # bytes of a body beside the one input that may have LUMBRE_MAX_BODY


def route(values: Values) -> list[Object]:
    """An Ingress, or an HTTPRoute, or nothing."""
    kind = values.gateway.route.kind
    return {"none": [], "ingress": [_ingress(values)], "httproute": [_httproute(values)]}[kind]


def _ingress(values: Values) -> Object:
    wanted = values.gateway.route
    service = {"name": GATEWAY, "port": {"name": HTTP}}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": service}}
    rule = {"host": wanted.host, "http": {"paths": [path]}}
    annotations = _annotations(values) | wanted.annotations
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(GATEWAY, values, labels("gateway"), annotations=annotations),
        "spec": {
            **({"ingressClassName": wanted.ingress_class} if wanted.ingress_class else {}),
            **(
                {"tls": [{"hosts": [wanted.host], "secretName": wanted.tls_secret}]}
                if wanted.tls_secret
                else {}
            ),
            "rules": [rule],
        },
    }


def _annotations(values: Values) -> dict[str, str]:
    """Timeouts, sizes and streams, as controllers take them; each ignores the others'.

    Their names are of ingress-nginx, of NGINX Ingress Controller, and of HAProxy's.
    """
    seconds = longest_wait(values)
    largest = int(values.settings.get("max_body", Settings.model_fields["max_body"].default))
    megabytes = -(-(largest + MARGIN) // 2**20)
    community = {
        "proxy-read-timeout": f"{seconds}",
        "proxy-send-timeout": f"{seconds}",
        "proxy-body-size": f"{megabytes}m",
        "proxy-buffering": "off",  # events as they come
        "proxy-request-buffering": "off",  # uploads go straight to the store
    }
    company = {
        "proxy-read-timeout": f"{seconds}s",
        "proxy-send-timeout": f"{seconds}s",
        "client-max-body-size": f"{megabytes}m",
        "proxy-buffering": "False",
    }
    return (
        {f"nginx.ingress.kubernetes.io/{name}": value for name, value in community.items()}
        | {f"nginx.org/{name}": value for name, value in company.items()}
        | {"haproxy.org/timeout-server": f"{seconds}s"}
    )


def _httproute(values: Values) -> Object:
    wanted = values.gateway.route
    space, _, name = wanted.gateway.rpartition("/")
    parent = {"name": name} | ({"namespace": space} if space else {})
    more = {"annotations": wanted.annotations} if wanted.annotations else {}
    stream = {"type": "Exact", "name": "accept", "value": "text/event-stream"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(GATEWAY, values, labels("gateway"), **more),
        "spec": {
            "parentRefs": [parent],
            "hostnames": [wanted.host],
            "rules": [
                _rule({"headers": [stream]}, "0s"),  # none: a stream ends with its invocation
                _rule({}, f"{longest_wait(values)}s"),
            ],
        },
    }


def _rule(match: Object, timeout: str) -> Object:
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}} | match],
        "timeouts": {"request": timeout},
        "backendRefs": [{"name": GATEWAY, "port": GATEWAY_PORT}],
    }
