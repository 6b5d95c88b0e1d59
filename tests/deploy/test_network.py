"""What passes between whom: exactly the flows that are needed."""

import pytest

from deploy.network import network, port_of
from deploy.pod import labels
from deploy.values import Values, read_values
from tests.deploy.flows import Place, Pod, passes
from tests.deploy.variants import EVERYTHING, EXTERNAL

METADATA = ("169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200")
OUTSIDE = ("93.184.216.34", "2606:2800:21f::1")
PRIVATE = "10.20.30.40"
OWN = ("gateway", "recorder", "console", "worker", "job", "broker", "database")
KEDA, SCRAPER, OPERATOR, INGRESS, STRANGER, DNS = (
    Pod(namespace)
    for namespace in ("keda", "monitoring", "rabbitmq-system", "ingress", "other", "kube-system")
)


def own(component: str) -> Pod:
    return Pod("lumbre", labels(component))


NODE = Pod("lumbre", {"app.kubernetes.io/name": "lumbre-rabbitmq"})  # of a RabbitmqCluster
CLUSTER: dict[str, Pod] = {component: own(component) for component in OWN} | {
    "node": NODE,
    "keda": KEDA,
    "scraper": SCRAPER,
    "operator": OPERATOR,
    "stranger": STRANGER,
    "neighbour": Pod("lumbre", {"app": "somebody's"}),
}
PORTS = (443, 4369, 5432, 5672, 6000, 6443, 8080, 8081, 15672, 15692, 25672)


def flows(values: Values) -> set[tuple[str, str, int]]:
    """Who may connect to which port of whom, among the pods of CLUSTER."""
    policies = network(values)
    return {
        (source, target, port)
        for source, one in CLUSTER.items()
        for target, other in CLUSTER.items()
        for port in PORTS
        if one.namespace == "lumbre" or other.namespace == "lumbre"
        if source != target or source == "node"
        if passes(policies, one, other, port)
    }


def within(found: set[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
    """Those from and to the namespace's own pods, and to it from elsewhere."""
    return {flow for flow in found if CLUSTER[flow[1]].namespace == "lumbre"}


def outward(found: set[tuple[str, str, int]]) -> set[tuple[str, int]]:
    return {(source, port) for source, target, port in found if target == "stranger"}


def test_in_dev_everybody_reaches_what_they_need_and_nothing_else() -> None:
    found = flows(read_values("dev"))
    inside = {
        ("gateway", "broker", 5672),
        ("gateway", "broker", 15672),
        ("gateway", "database", 5432),
        ("recorder", "broker", 5672),
        ("recorder", "broker", 15672),
        ("recorder", "database", 5432),
        ("job", "broker", 5672),
        ("job", "database", 5432),
        ("worker", "broker", 5672),
        ("keda", "broker", 15672),
    }
    assert within(found) == inside  # also nobody reaches a gateway: it asks for no key
    assert outward(found) == {("worker", 443), ("worker", 6443)}  # Kubernetes' API


def test_in_production_callers_prometheus_and_the_operator_come_in() -> None:
    found = flows(read_values("production"))
    stores = {
        ("gateway", "node", 5672),
        ("gateway", "node", 15672),
        ("recorder", "node", 5672),
        ("recorder", "node", 15672),
        ("job", "node", 5672),
        ("worker", "node", 5672),
        ("node", "node", 4369),
        ("node", "node", 25672),
        ("keda", "node", 15672),
        ("operator", "node", 15672),
        ("scraper", "node", 15692),
        ("scraper", "recorder", 8081),
        ("scraper", "worker", 8081),
    }
    # Whoever is not held back by policies of their own may call a gateway, which asks for a key.
    callers = {(source, "gateway", 8080) for source in ("keda", "scraper", "operator", "stranger")}
    assert within(found) == stores | callers
    assert outward(found) == {
        ("gateway", 5432),
        ("gateway", 443),
        ("recorder", 5432),
        ("recorder", 443),
        ("job", 5432),
        ("worker", 443),
        ("worker", 6443),
    }


def test_an_ingress_controllers_namespace_may_be_the_only_one_that_calls() -> None:
    route = {"namespace": "ingress"}
    policies = network(read_values("production", overrides={"gateway": {"route": route}}))
    assert passes(policies, INGRESS, own("gateway"), 8080)
    assert passes(policies, SCRAPER, own("gateway"), 8080)  # for its metrics
    assert not passes(policies, STRANGER, own("gateway"), 8080)
    assert not passes(policies, "93.184.216.34", own("gateway"), 8080)


def test_a_gateway_that_asks_for_no_key_is_reached_from_its_namespace_only() -> None:
    policies = network(read_values("dev"))
    caller = Pod("lumbre", {"app": "tests"})
    assert not passes(policies, caller, own("gateway"), 8080)  # whose own way out is closed
    opened = [*policies, egress_of(caller)]
    assert passes(opened, caller, own("gateway"), 8080)
    assert not passes(policies, STRANGER, own("gateway"), 8080)


def test_keda_reaches_the_scaler_of_gateways_where_it_is_told_to_push() -> None:
    pushed = network(read_values("dev", overrides={"trigger": "push"}))
    assert passes(pushed, KEDA, own("gateway"), 6000)
    assert not passes(pushed, STRANGER, own("gateway"), 6000)
    assert not passes(network(read_values("dev")), KEDA, own("gateway"), 6000)


@pytest.mark.parametrize("overlay", ["dev", "production"])
@pytest.mark.parametrize("component", OWN)
@pytest.mark.parametrize("address", METADATA)
def test_nobody_reaches_a_metadata_address(overlay: str, component: str, address: str) -> None:
    everything = EVERYTHING if overlay == "dev" else {"broker": EXTERNAL}
    policies = network(read_values(overlay, overrides=everything))
    for port in (80, 443, 5432, 5671, 15671):
        assert not passes(policies, own(component), address, port)


@pytest.mark.parametrize("component", OWN)
def test_everybody_may_ask_dns_and_nobody_else_by_udp(component: str) -> None:
    policies = network(read_values("dev", overrides={"console": True}))
    for protocol in ("UDP", "TCP"):
        assert passes(policies, own(component), DNS, 53, protocol)
        assert passes(policies, own(component), "169.254.20.10", 53, protocol)
        for nobody in (STRANGER, *OUTSIDE, PRIVATE):
            assert not passes(policies, own(component), nobody, 53, protocol)
    assert not passes(policies, own(component), DNS, 443) or component == "worker"


def test_stores_that_are_elsewhere_are_reached_by_their_ports_and_nothing_else() -> None:
    policies = network(read_values("production", overrides={"broker": EXTERNAL}))
    for target in (*OUTSIDE, PRIVATE, STRANGER):
        reached = {
            component: {
                port
                for port in (80, 5432, 5671, 5672, 5673, 15671, 15672)
                if can(policies, component, target, port)
            }
            for component in OWN
        }
        assert reached["gateway"] == reached["recorder"] == {5432, 5671, 5673, 15671}
        assert reached["job"] == {5432, 5671, 5673}
        assert reached["worker"] == {5671, 5673}
        assert reached["broker"] == reached["database"] == set()


def can(policies: list[dict[str, object]], component: str, target: Place, port: int) -> bool:
    return passes(policies, own(component), target, port)


def test_callbacks_lead_to_public_addresses_unless_a_host_may_be_private() -> None:
    for hosts, inward in ((["hooks.example"], False), (["hooks.example=private"], True)):
        values = read_values("dev", overrides={"callbacks": {"hosts": hosts}})
        policies = network(values)
        assert can(policies, "recorder", OUTSIDE[0], 443)
        assert can(policies, "recorder", OUTSIDE[1], 80)
        assert can(policies, "recorder", PRIVATE, 443) is inward
        assert can(policies, "recorder", STRANGER, 443) is inward
        assert not can(policies, "recorder", OUTSIDE[0], 8443)
        assert not can(policies, "gateway", OUTSIDE[0], 443)
    policies = network(read_values("dev", overrides={"callbacks": {"hosts": ["10.1.2.3:8443"]}}))
    assert can(policies, "recorder", "10.1.2.3", 8443)
    assert not can(network(read_values("dev")), "recorder", OUTSIDE[0], 443)


def test_workers_reach_kubernetes_only_to_tell_their_cost_and_what_functions_may() -> None:
    quiet = network(read_values("dev", overrides={"workers": {"deletion_cost": False}}))
    assert not any(can(quiet, "worker", OUTSIDE[0], port) for port in (80, 443, 6443))
    free = {"workers": {"deletion_cost": False, "ports": [443]}}
    assert can(network(read_values("dev", overrides=free)), "worker", OUTSIDE[0], 443)


def test_an_object_store_may_be_in_the_cluster_on_a_port_of_its_own() -> None:
    blobs = {"url": "s3://lumbre/blobs", "port": 9000}
    policies = network(read_values("dev", overrides={"blobs": blobs}))
    for component in ("gateway", "recorder", "worker"):
        assert can(policies, component, STRANGER, 9000)
        assert can(policies, component, OUTSIDE[0], 9000)
    assert not can(policies, "job", STRANGER, 9000)


def test_a_console_of_its_own_is_as_a_gateway() -> None:
    policies = network(read_values("dev", overrides={"console": True}))
    for port in (5672, 15672):
        assert can(policies, "console", own("broker"), port)
    assert can(policies, "console", own("database"), 5432)


@pytest.mark.parametrize(
    ("url", "port"),
    [("https://a", 443), ("http://a", 80), ("http://a:15672", 15672), ("https://a/x", 443)],
)
def test_the_port_of_a_url(url: str, port: int) -> None:
    assert port_of(url) == port


def egress_of(pod: Pod) -> dict[str, object]:
    """A policy of somebody else's that lets a pod go anywhere."""
    return {
        "metadata": {"namespace": pod.namespace},
        "spec": {
            "podSelector": {"matchLabels": pod.labels},
            "policyTypes": ["Egress"],
            "egress": [{}],
        },
    }
