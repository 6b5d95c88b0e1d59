"""Gateways, recorders and consoles: started with patience, ended in order, as many as wanted."""

from typing import Any

import pytest

from deploy.gateway import CONFIRMED, DRAIN, WITHDRAWN, console, gateway, longest_wait
from deploy.recorder import recorder
from deploy.values import Values, read_values
from runtime.role import SETTLE
from runtime.settings import Settings
from tests.specs import made_up

SPECS = [made_up("one"), made_up("two", devices=("gpu",))]


def by_kind(values: Values) -> dict[str, Any]:
    return {each["kind"]: each for each in gateway(SPECS, values)}


def container(found: dict[str, Any]) -> dict[str, Any]:
    (one,) = found["spec"]["template"]["spec"]["containers"]
    return dict(one)


def variables(found: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e["value"] for e in container(found)["env"] if "value" in e}


def test_one_gateway_has_neither_budget_nor_autoscaler() -> None:
    assert by_kind(read_values("dev")).keys() == {"Service", "Deployment"}


def test_a_number_that_an_autoscaler_keeps_is_not_said_in_the_deployment() -> None:
    scaled = by_kind(read_values("production"))
    assert "replicas" not in scaled["Deployment"]["spec"]
    spec = scaled["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    fixed = by_kind(read_values("production", overrides={"gateway": {"max_replicas": 1}}))
    assert fixed["Deployment"]["spec"]["replicas"] == 2
    assert "HorizontalPodAutoscaler" not in fixed and "PodDisruptionBudget" in fixed


def test_a_gateway_asks_for_keys_though_there_is_none_yet_or_needs_none() -> None:
    asking = variables(by_kind(read_values("production"))["Deployment"])
    assert asking["LUMBRE_KEYS"] == "on" and "LUMBRE_INSECURE" not in asking
    open_ = variables(by_kind(read_values("dev"))["Deployment"])
    assert open_["LUMBRE_INSECURE"] == "true" and "LUMBRE_KEYS" not in open_


def test_an_end_leaves_time_to_be_forgotten_to_drain_and_to_confirm() -> None:
    found = by_kind(read_values("dev"))["Deployment"]
    grace = found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    sleep = container(found)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert int(variables(found)["LUMBRE_GRACE"]) == DRAIN
    assert grace == sleep + DRAIN + CONFIRMED and CONFIRMED > SETTLE and sleep == WITHDRAWN


@pytest.mark.parametrize("role", ["gateway", "recorder"])
def test_a_start_may_take_as_long_as_it_waits_for_its_stores(role: str) -> None:
    values = read_values("dev")
    found = by_kind(values)["Deployment"] if role == "gateway" else recorder(values)[0]
    probe = container(found)["startupProbe"]
    patience = Settings.model_fields["broker_patience"].default
    assert probe["periodSeconds"] * probe["failureThreshold"] > patience + 30


def test_gateways_leave_recording_to_recorders_and_take_the_baked_catalog() -> None:
    found = by_kind(read_values("production"))["Deployment"]
    assert container(found)["args"] == ["gateway", "--no-recorder"]
    told = variables(found)
    assert told["LUMBRE_CATALOG"] == "/app/catalog.json"
    assert (told["LUMBRE_HOST"], told["LUMBRE_PORT"]) == ("0.0.0.0", "8080")
    assert "LUMBRE_INSECURE" not in told and "LUMBRE_SCALER_PORT" not in told


def test_keys_are_asked_for_unless_the_values_say_no() -> None:
    assert variables(by_kind(read_values("dev"))["Deployment"])["LUMBRE_INSECURE"] == "true"


def test_a_gateway_that_pushes_has_a_port_for_it() -> None:
    found = by_kind(read_values("dev", overrides={"trigger": "push"}))
    assert variables(found["Deployment"])["LUMBRE_SCALER_PORT"] == "6000"
    ports = {each["name"]: each for each in found["Service"]["spec"]["ports"]}
    assert ports["scaler"]["port"] == 6000
    assert ports["scaler"]["appProtocol"] == "kubernetes.io/h2c"


def test_a_console_of_its_own_serves_no_scaler_and_is_one() -> None:
    values = read_values("dev", overrides={"console": True, "trigger": "push"})
    service, deployment = console(SPECS, values)
    assert container(deployment)["args"] == ["console"]
    assert deployment["spec"]["replicas"] == 1
    assert [port["name"] for port in service["spec"]["ports"]] == ["http"]
    assert console(SPECS, read_values("dev")) == []


def test_other_functions_devices_or_values_make_other_pods() -> None:
    def digest(specs: Any, **overrides: Any) -> str:
        values = read_values("dev", overrides=overrides)
        found = {each["kind"]: each for each in gateway(specs, values)}["Deployment"]
        return str(found["spec"]["template"]["metadata"]["annotations"]["lumbre.dev/config"])

    assert digest(SPECS) == digest([*SPECS, made_up("three")])
    assert digest(SPECS) != digest(SPECS[:1])  # there is no GPU any more
    assert digest(SPECS) != digest(SPECS, settings={"queue_limit": "7"})


def test_a_recorder_that_is_not_alone_has_a_budget() -> None:
    assert [each["kind"] for each in recorder(read_values("dev"))] == ["Deployment"]
    assert [each["kind"] for each in recorder(read_values("production"))] == [
        "Deployment",
        "PodDisruptionBudget",
    ]


def test_routes_wait_longer_than_gateways() -> None:
    values = read_values("dev", overrides={"gateway": {"max_wait": 30.5}})
    assert longest_wait(values) == 41
