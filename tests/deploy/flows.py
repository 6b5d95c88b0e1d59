"""What NetworkPolicies let through, as Kubernetes' page on them has it.

A connection passes if the egress of its source and the ingress of its target both allow it; pods
that no policy of a direction selects are free in that direction.  Ports are of TCP unless said.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from deploy.pod import Object


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod: its namespace, by name, and its labels."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)


Place = Pod | str  # an address outside the cluster


def passes(
    policies: Iterable[Object], source: Place, target: Place, port: int, protocol: str = "TCP"
) -> bool:
    """Whether `source` may connect to a port of `target`."""
    known = list(policies)
    return _allowed(known, "Egress", source, target, port, protocol) and _allowed(
        known, "Ingress", target, source, port, protocol
    )


def _allowed(
    policies: list[Object], direction: str, pod: Place, peer: Place, port: int, protocol: str
) -> bool:
    if isinstance(pod, str):  # no policy is about what is outside
        return True
    rules, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    about = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and _matches(policy["spec"]["podSelector"], pod.labels)
        and direction in policy["spec"]["policyTypes"]
    ]
    return not about or any(
        _rule(rule, peers, peer, port, protocol, policy["metadata"]["namespace"])
        for policy in about
        for rule in policy["spec"].get(rules, ())
    )


def _rule(
    rule: dict[str, Any], peers: str, peer: Place, port: int, protocol: str, namespace: str
) -> bool:
    ports = rule.get("ports")
    if ports and {"protocol": protocol, "port": port} not in ports:
        return False
    return peers not in rule or any(_peer(each, peer, namespace) for each in rule[peers])


def _peer(wanted: dict[str, Any], peer: Place, namespace: str) -> bool:
    if isinstance(peer, str):
        return "ipBlock" in wanted and _within(wanted["ipBlock"], peer)
    if "ipBlock" in wanted:  # plugins differ; the strict ones do not count pods as addresses
        return False
    here = (
        _matches(wanted["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace})
        if "namespaceSelector" in wanted
        else peer.namespace == namespace
    )
    return here and _matches(wanted.get("podSelector", {}), peer.labels)


def _within(block: dict[str, Any], address: str) -> bool:
    where = ip_address(address)
    inside = [
        where in network
        for text in (block["cidr"], *block.get("except", ()))
        if (network := ip_network(text)).version == where.version
    ]
    return bool(inside) and inside[0] and not any(inside[1:])


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, selector
    return bool(selector.get("matchLabels", {}).items() <= labels.items())
