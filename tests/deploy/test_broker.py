"""RabbitMQ in the namespace: one pod, a cluster of the operator, or none."""

import configparser
import re
from typing import Any

import pytest

from deploy.broker import broker, broker_labels
from deploy.quantity import number
from deploy.rabbitmq_conf import rabbitmq_conf, server_conf
from deploy.values import Values, read_values
from tests.deploy.variants import EXTERNAL
from tests.support import ROOT

COMPOSE = ROOT / "deploy" / "rabbitmq" / "rabbitmq.conf"


def settings(text: str) -> dict[str, str]:
    """What a rabbitmq.conf says."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def by_kind(values: Values) -> dict[str, Any]:
    return {each["kind"]: each for each in broker(values)}


def test_a_broker_elsewhere_is_nothing_here() -> None:
    assert broker(read_values("production", overrides={"broker": EXTERNAL})) == []


def test_the_server_ends_no_delivery_before_the_values_say_so() -> None:
    values = read_values("dev", overrides={"broker": {"consumer_timeout": 5400.5}})
    assert settings(server_conf(values))["consumer_timeout"] == "5400500"  # milliseconds
    found = by_kind(values)
    assert found["ConfigMap"]["data"] == {"lumbre.conf": server_conf(values)}


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_the_server_knows_its_memory_and_keeps_some_disk_free(overlay: str) -> None:
    values = read_values(overlay)
    found = settings(rabbitmq_conf(values))
    memory = int(number(values.broker.memory))
    assert found["total_memory_available_override_value"] == str(memory)
    free = int(found["disk_free_limit.absolute"])
    assert 0 < free <= memory and free <= number(values.broker.storage.size) / 5


def test_keda_finds_statistics_whatever_a_version_thinks_of_them() -> None:
    found = settings(rabbitmq_conf(Values()))
    assert found["management_agent.disable_metrics_collector"] == "false"
    assert found["deprecated_features.permit.management_metrics_collection"] == "true"
    assert int(found["collect_statistics_interval"]) <= 5000


def test_compose_and_kubernetes_have_the_same_configuration() -> None:
    compose, cluster = settings(COMPOSE.read_text()), settings(server_conf(Values()))
    depends = {"disk_free_limit.absolute", "total_memory_available_override_value"}
    assert {key: compose[key] for key in compose.keys() - depends} == {
        key: cluster[key] for key in cluster.keys() - depends
    }


def test_another_configuration_makes_another_pod() -> None:
    def annotation(**fields: Any) -> str:
        found = by_kind(read_values("dev", overrides={"broker": fields}))
        template = found["StatefulSet"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["lumbre.dev/config"])

    assert annotation() == annotation() != annotation(consumer_timeout=3600)


def test_the_cookie_is_on_no_volume_whose_files_are_opened_to_a_group() -> None:
    (container,) = by_kind(read_values("dev"))["StatefulSet"]["spec"]["template"]["spec"][
        "containers"
    ]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts["/var/lib/rabbitmq"] == "home"  # where Erlang writes .erlang.cookie
    assert mounts["/var/lib/rabbitmq/mnesia"] == "data"


def test_its_user_comes_from_the_secret_and_its_node_has_one_name_for_ever() -> None:
    (container,) = by_kind(read_values("dev"))["StatefulSet"]["spec"]["template"]["spec"][
        "containers"
    ]
    env = {entry["name"]: entry for entry in container["env"]}
    assert env["RABBITMQ_NODENAME"]["value"] == "rabbit@localhost"
    for name, key in (("RABBITMQ_DEFAULT_USER", "username"), ("RABBITMQ_DEFAULT_PASS", "password")):
        assert env[name]["valueFrom"]["secretKeyRef"] == {"name": "lumbre-broker", "key": key}
    assert "livenessProbe" not in container


def test_a_cluster_has_its_nodes_apart_and_loses_one_at_a_time() -> None:
    values = read_values("production")
    found = by_kind(values)
    spec = found["RabbitmqCluster"]["spec"]
    assert spec["replicas"] == 3 and "image" not in spec  # the operator knows which suits it
    assert spec["persistence"] == {"storage": "50Gi"}
    (term,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == broker_labels(values)
    assert term["topologyKey"] == "kubernetes.io/hostname"
    budget = found["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == {"app.kubernetes.io/name": "lumbre-rabbitmq"}
    assert budget["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"


def test_a_cluster_of_one_node_can_be_drained() -> None:
    one = read_values("production", overrides={"broker": {"nodes": 1}})
    assert [each["kind"] for each in broker(one)] == ["RabbitmqCluster"]


def test_an_operators_configuration_is_one_that_it_can_read() -> None:
    # The operator reads it as an INI file of one section.
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.read_string("[all]\n" + rabbitmq_conf(read_values("production")))
    assert all(re.fullmatch(r"[\w.]+", value) for value in parser["all"].values())
