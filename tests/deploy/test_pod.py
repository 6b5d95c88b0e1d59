"""What all pods share."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import pod
from deploy.blobs import blobs
from deploy.configmap import configmap
from deploy.quantity import number
from deploy.values import QUANTITY, Values, read_values
from runtime.settings import Settings, read_settings
from tests.deploy.variants import AUTHORITY, EXTERNAL
from tests.specs import made_up


def values(**overrides: Any) -> Values:
    return read_values("dev", overrides=overrides)


def test_every_setting_that_is_rendered_is_one() -> None:
    told = values(
        callbacks={"hosts": ["a.example", "b.example"]},
        settings={"queue_limit": "7"},
        gateway={"route": {"host": "lumbre.example"}},
    )
    found = pod.settings(told)
    for name in found:
        assert name.removeprefix("LUMBRE_").lower() in Settings.model_fields
    assert found["LUMBRE_CALLBACK_HOSTS"] == "a.example,b.example"
    assert found["LUMBRE_QUEUE_LIMIT"] == "7"
    read_settings({name.removeprefix("LUMBRE_").lower(): text for name, text in found.items()})


def test_the_ledgers_url_is_for_those_who_have_a_ledger() -> None:
    def names(**chosen: bool) -> set[str]:
        return {entry["name"] for entry in pod.environment(values(), **chosen)}

    assert "LUMBRE_LEDGER_URL" in names(ledger=True)
    assert "LUMBRE_LEDGER_URL" not in names(ledger=False)
    assert not names(ledger=True, broker=False) & {"LUMBRE_BROKER_PASSWORD"}


@pytest.mark.parametrize("url", ["", "s3://bucket/x"])
def test_blobs_are_on_a_volume_or_in_a_store(url: str) -> None:
    found = values(blobs={"url": url})
    claims = [v for v in pod.volumes(found) if "persistentVolumeClaim" in v]
    assert bool(claims) is bool(blobs(found)) is (not url)
    assert pod.settings(found)["LUMBRE_BLOBS_URL"] == (url or "file:///var/lib/lumbre/blobs")
    for shm in (False, True):
        named = {each["name"] for each in pod.volumes(found, shm=shm)}
        assert {each["name"] for each in pod.mounts(found, shm=shm)} == named


def test_a_volume_may_be_one_that_nodes_share() -> None:
    shared = {"access": "ReadWriteMany", "storage": {"size": "1Ti", "storage_class": "nfs"}}
    (claim,) = blobs(values(blobs=shared))
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "nfs",
        "resources": {"requests": {"storage": "1Ti"}},
    }


def test_selectors_never_have_labels_that_may_change() -> None:
    own = pod.labels("worker", function="matmul", device="gpu")
    assert pod.selector(own) == {
        "app.kubernetes.io/name": "lumbre",
        "app.kubernetes.io/component": "worker",
        "lumbre.dev/function": "matmul",
        "lumbre.dev/device": "gpu",
    }
    assert pod.selector(own | {"version": "2"}) == pod.selector(own)


def test_pods_are_made_anew_for_other_settings_and_for_nothing_else() -> None:
    before = pod.annotations(values())
    assert pod.annotations(values(settings={"log_level": "debug"})) != before
    assert pod.annotations(values(gateway={"replicas": 1})) == before


def test_a_broker_of_an_authority_of_its_own_is_trusted_by_pods_and_by_keda() -> None:
    there = values(broker=EXTERNAL | {"ca": AUTHORITY})
    path = Path(pod.settings(there)["LUMBRE_BROKER_CA"])
    (mount,) = (each for each in pod.mounts(there) if each["mountPath"] == str(path.parent))
    (volume,) = (each for each in pod.volumes(there) if each["name"] == mount["name"])
    (item,) = volume["configMap"]["items"]
    assert item["path"] == path.name
    (config,) = (
        each
        for each in configmap([], there)
        if each["metadata"]["name"] == volume["configMap"]["name"]
    )
    assert config["data"] == {item["key"]: AUTHORITY, "tls": "enable"}
    other = values(broker=EXTERNAL | {"ca": AUTHORITY + AUTHORITY})
    assert pod.annotations(there) != pod.annotations(other), "its pods are made anew"
    assert "LUMBRE_BROKER_CA" not in pod.settings(values(broker=EXTERNAL))


def test_gateways_are_told_the_devices_that_workers_can_be_started_on() -> None:
    def devices(*specs: Any) -> str:
        return str(configmap(list(specs), values())[0]["data"]["LUMBRE_DEVICES"])

    assert devices(made_up()) == "cpu"
    assert devices(made_up("a", devices=("gpu",)), made_up("b")) == "cpu,gpu"


def test_keda_reads_a_host_without_a_vhost() -> None:
    external = {
        "kind": "external",
        "url": "amqp://a/v",
        "management_url": "https://a:15671",
    }
    for given_, url in (
        ({}, "http://lumbre-rabbitmq.lumbre.svc:15672/"),
        ({"broker": external}, "https://a:15671/"),
    ):
        (found,) = configmap([], values(**given_))
        assert found["data"]["management-url"] == url


@given(st.from_regex(QUANTITY, fullmatch=True))
def test_every_quantity_that_values_take_is_a_number(quantity: str) -> None:
    digits = re.match(r"[0-9.]+", quantity)
    assert digits
    assert (number(quantity) == 0) is (number(digits[0]) == 0)


@pytest.mark.parametrize(
    ("quantity", "is_"),
    [("512Mi", 2**29), ("1.5G", 1.5e9), ("500m", 0.5), ("2", 2), ("3k", 3000), ("1Ti", 2**40)],
)
def test_a_quantity_is_what_kubernetes_takes_it_for(quantity: str, is_: float) -> None:
    assert number(quantity) == is_
