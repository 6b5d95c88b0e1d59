"""Jobs before the roles: run once for each state of things, and again for another."""

from typing import Any

import pytest

from deploy.jobs import jobs
from deploy.values import read_values
from runtime.function import FunctionSpec
from tests.specs import made_up

SPECS = [made_up("one")]


def made(specs: list[FunctionSpec] = SPECS, **overrides: Any) -> dict[str, dict[str, Any]]:
    found = jobs(specs, read_values("dev", overrides=overrides))
    return {each["spec"]["template"]["spec"]["containers"][0]["name"]: each for each in found}


def name(command: str, *arguments: Any, **overrides: Any) -> str:
    return str(made(*arguments, **overrides)[command]["metadata"]["name"])


@pytest.mark.parametrize("command", ["migrate", "declare"])
def test_a_job_that_would_be_another_has_another_name(command: str) -> None:
    assert name(command) == name(command)
    assert name(command).startswith(f"lumbre-{command}-")
    other = name(command, images={"gateway": "lumbre:gateway-2"})
    assert other != name(command)


def test_queues_are_declared_again_for_other_functions_or_another_broker() -> None:
    before = name("declare")
    assert name("declare", [*SPECS, made_up("two")]) != before
    assert name("declare", [made_up("one", devices=("cpu", "gpu"))]) != before
    assert name("declare", broker={"consumer_timeout": 3600}) != before
    assert name("declare", [made_up("one", version="2")]) == before


def test_the_ledger_is_not_migrated_for_other_functions() -> None:
    assert name("migrate", [*SPECS, made_up("two")]) == name("migrate")


def test_each_has_the_credentials_of_its_store_only() -> None:
    found = made(blobs={"url": "s3://b", "secret": "keys"})
    for command, secrets in {
        "migrate": {"LUMBRE_LEDGER_URL"},
        "declare": {"LUMBRE_BROKER_USERNAME", "LUMBRE_BROKER_PASSWORD"},
    }.items():
        (container,) = found[command]["spec"]["template"]["spec"]["containers"]
        assert {e["name"] for e in container["env"] if "valueFrom" in e} == secrets
        assert container["envFrom"] == [{"configMapRef": {"name": "lumbre"}}]
        assert container["args"] == [command]


@pytest.mark.parametrize("command", ["migrate", "declare"])
def test_it_is_tried_until_its_stores_are_there_and_not_for_ever(command: str) -> None:
    spec = made()[command]["spec"]
    pauses = sum(min(10 * 2**n, 360) for n in range(spec["backoffLimit"]))
    assert 300 < pauses < spec["activeDeadlineSeconds"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["ttlSecondsAfterFinished"] > 0
