"""A ScaledObject says what the scaling says, and its YAML is read back as it was."""

import re
from typing import Any

import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as models
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.document import as_yaml
from autoscaler.keda import resource_name, scaled_job, scaled_object, trigger_authentication
from runtime.function import NAME, Scaling
from tests.specs import scalings

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
    trigger, beside = spec["triggers"]
    assert trigger["type"] == "rabbitmq"
    assert beside["metadata"] == {
        "protocol": "http",
        "queueName": "matmul.gpu",
        "vhostName": "/",
        "mode": "MessageRate",  # what comes keeps a replica, and asks for no second one
        "value": "1000000",
        "activationValue": "1",
    }
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


JOB = {"template": {"spec": {"containers": [{"name": "worker", "image": "lumbre:cpu"}]}}}
# KEDA's fields that the models, made of 2.16, do not know; each is in KEDA 2.20's CRD.
NEWER = {("spec", "fallback", "behavior")} | {
    ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", way, "tolerance")
    for way in ("scaleUp", "scaleDown")
}


def known(value: Any, path: tuple[str, ...] = ()) -> Any:
    """The same without what the models do not know."""
    if not isinstance(value, dict):
        return value
    return {k: known(v, (*path, k)) for k, v in value.items() if (*path, k) not in NEWER}


def missing(rendered: Any, read: Any, path: str = "") -> list[str]:
    """Where what a model has read lacks something that was rendered: the model would ignore it."""
    if isinstance(rendered, dict):
        return [
            gap
            for key, value in rendered.items()
            for gap in (missing(value, read[key], f"{path}.{key}") if key in read else [path + key])
        ]
    if isinstance(rendered, list):
        return [
            gap for a, b in zip(rendered, read, strict=True) for gap in missing(a, b, f"{path}[]")
        ]
    return [] if rendered == read else [path]


@settings(deadline=None, max_examples=25)  # the models take their time
@given(scalings())
def test_every_field_is_one_of_kedas(scaling: Scaling) -> None:
    made = scaled_object("f", "cpu", scaling)
    read = models.ScaledObject.model_validate(known(made)).model_dump(by_alias=True, mode="json")
    assert missing(known(made), read) == []
    job = scaled_job("f", "cpu", scaling, JOB)
    assert "metricType" not in job["spec"]["triggers"][0]  # KEDA 2.20 refuses it there, as seen
    read = models.ScaledJob.model_validate(job).model_dump(by_alias=True, mode="json")
    assert missing(job, read) == []


def test_the_authentication_has_the_password_apart_from_the_url() -> None:
    made = trigger_authentication("lumbre-broker", "lumbre")
    read = models.TriggerAuthentication.model_validate(made)
    assert missing(made, read.model_dump(by_alias=True, mode="json")) == []
    assert made["metadata"] == {"name": "lumbre-rabbitmq"}
    spec = made["spec"]
    assert [(s["parameter"], s["name"], s["key"]) for s in spec["secretTargetRef"]] == [
        ("username", "lumbre-broker", "username"),
        ("password", "lumbre-broker", "password"),
    ]
    assert spec["configMapTargetRef"] == [
        {"parameter": "host", "name": "lumbre", "key": "management-url"}
    ]


def test_an_authority_that_is_not_public_is_told_with_tls() -> None:
    made = trigger_authentication("lumbre-broker", "lumbre", authority="trusted")
    read = models.TriggerAuthentication.model_validate(made)
    assert missing(made, read.model_dump(by_alias=True, mode="json")) == []
    assert made["spec"]["configMapTargetRef"][1:] == [
        {"parameter": "ca", "name": "trusted", "key": "ca.crt"},
        {"parameter": "tls", "name": "trusted", "key": "tls"},
    ]


def test_a_job_per_message_is_started_once_and_never_ended_by_a_new_version() -> None:
    spec = scaled_job("train", "gpu", Scaling(target=1, min_replicas=1), JOB, 4)["spec"]
    assert spec["rollout"] == {"strategy": "gradual"}
    assert spec["scalingStrategy"] == {"strategy": "default"}  # backlog counts what runs
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 4)
    assert "fallback" not in spec  # a ScaledJob has none
    assert "cooldownPeriod" not in spec
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["excludeUnacknowledged"] == "false"


@pytest.mark.parametrize(
    ("polling", "cooldown", "failures"),
    [(2, 60, 15), (2, 600, 30), (0.1, 60, 30), (30, 60, 3), (7, 120, 9), (2, 0, 3)],
)
def test_replicas_are_assumed_before_half_the_cooldown_is_over(
    polling: float, cooldown: float, failures: int
) -> None:
    scaling = Scaling(polling_interval=polling, cooldown=cooldown)
    assert scaled_object("f", "gpu", scaling)["spec"]["fallback"] == {
        "failureThreshold": failures,
        "replicas": 1,
        "behavior": "currentReplicasIfHigher",
    }


def test_seconds_and_numbers_are_such_as_kubernetes_takes() -> None:
    spec = scaled_object("f", "cpu", Scaling(target=1_234_567, cooldown=1e12))["spec"]
    assert spec["cooldownPeriod"] == 2**31 - 1
    assert spec["triggers"][0]["metadata"]["value"] == "1234567"
