"""Devices that a cluster has: the others of a function are left out, and it needs one."""

from deploy.configmap import gateway_settings
from deploy.devices import device_faults, held_to_devices
from deploy.values import Values
from tests.specs import made_up

CPU = Values.model_validate({"devices": ["cpu"]})
BOTH = [made_up("a", devices=("cpu", "gpu")), made_up("b", devices=("gpu",))]


def test_a_cluster_without_gpus_has_the_cpu_part_of_functions() -> None:
    assert [spec.devices for spec in held_to_devices(BOTH, CPU)] == [("cpu",), ()]
    assert held_to_devices(BOTH, Values()) == BOTH


def test_a_function_that_no_device_is_left_of_is_refused() -> None:
    assert list(device_faults(BOTH, Values())) == []
    (fault,) = device_faults(BOTH, CPU)
    assert fault == (
        "function b: it runs on gpu only, and devices has cpu: add gpu to devices where the cluster"
        " has it, or to the function's devices cpu, or leave the function out"
    )


def test_a_gateway_sends_nothing_to_devices_that_are_not_rendered() -> None:
    assert gateway_settings(BOTH[:1], Values())["LUMBRE_DEVICES"] == "cpu,gpu"
    assert gateway_settings(BOTH[:1], CPU)["LUMBRE_DEVICES"] == "cpu"
