"""A ScaledObject says what the scaling says, and its YAML is read back as it was."""

import re
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.document import as_yaml
from autoscaler.keda import resource_name, scaled_object
from runtime.function import NAME, Scaling

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # RFC 1123
WORDS = st.sampled_from(["on", "no", "Yes", "null", "1e3", "0x1F", "12:30:00", "- a", "a: b", "~"])
VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.none()
    | WORDS
    | st.text(st.characters(max_codepoint=127), max_size=20),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.sampled_from("abc"), of, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_yaml_is_read_back_as_it_was(value: Any) -> None:
    assert yaml.safe_load(as_yaml(value)) == value


@given(st.from_regex(NAME, fullmatch=True), st.sampled_from(["cpu", "gpu"]))
def test_a_resource_has_a_name_that_a_cluster_takes(function: str, device: Any) -> None:
    name = resource_name(function, device)
    assert len(name) <= 63
    assert LABEL.fullmatch(name)
    assert name.endswith(device)


def test_long_names_that_begin_alike_are_not_the_same() -> None:
    names = {resource_name("a" * 61 + end, "gpu") for end in "bc"}
    assert len(names) == 2


def test_the_trigger_counts_what_runs_and_asks_over_http() -> None:
    spec = scaled_object("matmul", "gpu", Scaling(target=2, activation=1), 8)["spec"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "rabbitmq"
    metadata = trigger["metadata"]
    assert metadata["protocol"] == "http"
    assert metadata["excludeUnacknowledged"] == "false"
    assert (metadata["queueName"], metadata["mode"]) == ("matmul.gpu", "QueueLength")
    assert (metadata["value"], metadata["activationValue"]) == ("2", "1")
    assert all(isinstance(value, str) for value in metadata.values())  # KEDA takes texts only


def test_every_field_of_the_scaling_is_said() -> None:
    scaling = Scaling(
        min_replicas=1,
        max_replicas=5,
        polling_interval=0.5,
        cooldown=90,
        stabilization_window=120.5,
        tolerance=0.05,
    )
    spec = scaled_object("f", "cpu", scaling, 8)["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 5)
    assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (1, 90)
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 121
    assert behavior["scaleDown"]["tolerance"] == behavior["scaleUp"]["tolerance"] == "0.05"
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_the_hardware_counts_where_the_scaling_names_no_most() -> None:
    assert scaled_object("f", "cpu", Scaling(), 8)["spec"]["maxReplicaCount"] == 8
    behavior = scaled_object("f", "cpu", Scaling(), 8)["spec"]["advanced"]
    assert "tolerance" not in str(behavior)  # the HPA's own


def test_the_yaml_is_as_people_write_it() -> None:
    text = as_yaml(scaled_object("image_filter", "gpu", Scaling(max_replicas=4), 1))
    assert text.startswith("apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata:\n")
    assert "  name: image-filter-gpu\n" in text
    assert "queueName: image_filter.gpu\n" in text
    assert "\n  triggers:\n  - type: rabbitmq\n    metadata:\n      protocol: http\n" in text
