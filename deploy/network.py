"""NetworkPolicies: nothing passes but what is named here.

"Anywhere" is never what clouds have for their own nodes, such as the metadata address, which gives
a node's credentials to whoever asks.  Probes come from the node itself, which policies let through.
A network plugin that knows no policies ignores them all.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from deploy.broker import PORTS, broker_labels
from deploy.namespace import PLATFORM
from deploy.pod import (
    GATEWAY_PORT,
    HEALTH_PORT,
    SCALER_PORT,
    Object,
    labels,
    metadata,
    selector,
)
from deploy.values import Values
from runtime.brokers.rabbitmq.address import Address
from runtime.destination import WEB_PORTS, Allowed

AMQP, MANAGEMENT, PROMETHEUS = (PORTS[name] for name in ("amqp", "management", "prometheus"))
POSTGRES = 5432
NODE_PORTS = (4369, 25672)  # RabbitMQ's nodes among themselves: epmd, and Erlang's distribution
# Link-local: metadata of AWS, GCP, Azure, OpenStack …; then Azure's host agent, Alibaba's metadata.
NEVER_V4 = ("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32")
# Link-local; then the metadata of AWS and of GCP.
NEVER_V6 = ("fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128")
# Addresses that callbacks never lead to, unless a host is listed as `=private`.
PRIVATE_V4 = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8")
PRIVATE_V6 = ("fc00::/7", "fe80::/10", "::1/128")
LOCAL_DNS = "169.254.20.10/32"  # NodeLocal DNSCache

Rule = dict[str, Any]


def network(values: Values) -> list[Object]:
    """A policy that denies, one for DNS, and one for each component's pods."""
    found = [_everybody(values), _dns(values)]
    for component, ingress, egress in _flows(values):
        pods = broker_labels(values) if component == "broker" else selector(labels(component))
        found.append(_policy(f"lumbre-{component}", values, pods, ingress, egress))
    return found


def _flows(values: Values) -> Iterable[tuple[str, list[Rule], list[Rule]]]:
    """Component, what may come, and what may go."""
    stores = [*_to_broker(values, AMQP, MANAGEMENT), *_to_database(values)]
    scraped = _scraped(values, HEALTH_PORT)
    yield "gateway", _to_gateway(values), [*stores, *_to_blobs(values)]
    if values.console:
        yield "console", _from_callers(values), [*stores, *_to_blobs(values)]
    yield "recorder", scraped, [*stores, *_to_blobs(values), *_callbacks(values)]
    yield "job", [], [*_to_broker(values, AMQP), *_to_database(values)]
    worker = [*_to_broker(values, AMQP), *_to_blobs(values), *_functions(values)]
    yield "worker", scraped, worker
    if values.broker.kind != "external":
        yield "broker", _broker_ingress(values), _among_nodes(values, "to")
    if values.database.kind == "pod":
        clients = _of(_clients(values, "gateway", "recorder", "job"))
        yield "database", [_from(clients, POSTGRES)], []


def _policy(
    name: str, values: Values, pods: dict[str, str], ingress: list[Rule], egress: list[Rule]
) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name, values, labels(PLATFORM)),
        "spec": {
            "podSelector": {"matchLabels": pods} if pods else {},
            "policyTypes": ["Ingress", "Egress"],
            **({"ingress": ingress} if ingress else {}),
            **({"egress": egress} if egress else {}),
        },
    }


def _everybody(values: Values) -> Object:
    return _policy("lumbre-default-deny", values, {}, [], [])


def _dns(values: Values) -> Object:
    """Of all pods of the namespace, the operator's too."""
    servers = [_namespace("kube-system"), {"ipBlock": {"cidr": LOCAL_DNS}}]
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    found = _policy("lumbre-dns", values, {}, [], [{"to": servers, "ports": ports}])
    found["spec"]["policyTypes"] = ["Egress"]
    return found


def _clients(values: Values, *components: str) -> list[str]:
    return [*components, *(["console"] if values.console else [])]


def _from_callers(values: Values) -> list[Rule]:
    """From the ingress controller's namespace, or anybody, whom the gateway asks for a key.

    Where it asks for none, only from the namespace itself: `kubectl port-forward` needs no rule.
    """
    if values.gateway.route.namespace:
        return [_from([_namespace(values.gateway.route.namespace)], GATEWAY_PORT)]
    if values.gateway.insecure:
        return [_from([{"podSelector": {}}], GATEWAY_PORT)]
    return [{"ports": _ports([GATEWAY_PORT])}]


def _to_gateway(values: Values) -> list[Rule]:
    found = _from_callers(values)
    if "from" in found[0]:  # and not from everybody
        found += _scraped(values, GATEWAY_PORT)
    if values.trigger == "push":
        found.append(_from([_namespace(values.keda_namespace)], SCALER_PORT))
    return found


def _scraped(values: Values, port: int) -> list[Rule]:
    if not values.monitoring.enabled:
        return []
    return [_from([_namespace(values.monitoring.namespace)], port)]


def _broker_ingress(values: Values) -> list[Rule]:
    clients = _clients(values, "gateway", "recorder")
    asking = [*_of(clients), _namespace(values.keda_namespace)]  # how long queues are
    if values.broker.kind == "operator":
        asking.append(_namespace(values.broker.operator_namespace))
    return [
        _from(_of([*clients, "job", "worker"]), AMQP),
        _from(asking, MANAGEMENT),
        *_scraped(values, PROMETHEUS),
        *_among_nodes(values, "from"),
    ]


def _among_nodes(values: Values, direction: str) -> list[Rule]:
    if values.broker.kind != "operator":
        return []
    nodes = {"podSelector": {"matchLabels": broker_labels(values)}}
    return [{direction: [nodes], "ports": _ports(NODE_PORTS)}]


def _to_broker(values: Values, *ports: int) -> list[Rule]:
    if values.broker.kind != "external":
        return [_to([{"podSelector": {"matchLabels": broker_labels(values)}}], *ports)]
    there = {port for _, port in Address.parse(values.broker.url).hosts}
    if MANAGEMENT in ports:
        there.add(port_of(values.broker.management_url))
    return [_to(_anywhere(), *sorted(there))]


def _to_database(values: Values) -> list[Rule]:
    if values.database.kind == "external":
        return [_to(_anywhere(), values.database.port)]
    return [_to(_of(["database"]), POSTGRES)]


def _to_blobs(values: Values) -> list[Rule]:
    return [_to(_anywhere(), values.blobs.port)] if values.blobs.url else []


def _callbacks(values: Values) -> list[Rule]:
    """To public addresses; to all but metadata where one of the hosts may be a private one."""
    entries = Allowed.parse(",".join(values.callbacks.hosts)).entries
    ports = {port for each in entries for port in ([each.port] if each.port else WEB_PORTS)}
    if not ports:
        return []
    inward = any(each.private or _is_address(each.host) for each in entries)
    public = _blocks([*NEVER_V4, *PRIVATE_V4], [*NEVER_V6, *PRIVATE_V6])
    return [_to(_anywhere() if inward else public, *sorted(ports))]


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


def _functions(values: Values) -> list[Rule]:
    ports = set(values.workers.ports)
    if values.workers.deletion_cost:
        ports |= set(values.api_ports)
    return [_to(_anywhere(), *sorted(ports))] if ports else []


def _anywhere() -> list[Rule]:
    """All addresses but those, and pods, which some network plugins do not count as addresses."""
    return [*_blocks(NEVER_V4, NEVER_V6), {"namespaceSelector": {}}]


def _blocks(without_v4: Sequence[str], without_v6: Sequence[str]) -> list[Rule]:
    blocks = (("0.0.0.0/0", without_v4), ("::/0", without_v6))
    return [{"ipBlock": {"cidr": all, "except": sorted({*some})}} for all, some in blocks]


def _namespace(name: str) -> Rule:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _of(components: Iterable[str]) -> list[Rule]:
    return [{"podSelector": {"matchLabels": selector(labels(each))}} for each in components]


def _from(peers: list[Rule], *ports: int) -> Rule:
    return {"from": peers, "ports": _ports(ports)}


def _to(peers: list[Rule], *ports: int) -> Rule:
    return {"to": peers, "ports": _ports(ports)}


def _ports(ports: Sequence[int]) -> list[Rule]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def port_of(url: str) -> int:
    """The port of an HTTP URL."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
