"""What every bundle is held to, whatever the values: without a cluster, and object by object."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from deploy.bundle import (
    KUSTOMIZATION,
    MARK,
    PHASES,
    bundle,
    headline,
    write_folder,
)
from deploy.pod import COMPONENT, Object, selector
from deploy.stream import as_stream
from deploy.values import Values, read_values
from runtime.errors import ConfigurationError
from tests.deploy import pod_security, schemas
from tests.deploy.contents import containers, named_ports, references, templates
from tests.deploy.variants import VARIANTS, functions, objects, rendered, variant
from tests.specs import made_up

each_variant = pytest.mark.parametrize("name", VARIANTS)
# Secrets that nobody renders: `lumbre deploy apply` makes them, or says which are missing.
SECRETS = {
    "lumbre-broker": {"username", "password"},
    "lumbre-rabbitmq-default-user": {"username", "password"},  # the cluster operator's
    "rabbitmq": {"username", "password"},  # of the variants with one elsewhere
    "lumbre-database": {"url", "password"},
    "lumbre-blobs": {""},
    "lumbre-callbacks": {"secret"},
    "lumbre-metrics": {"key"},
    "lumbre-tls": {""},
    "registry": {""},
}
CLUSTER = {  # kinds that are in no namespace
    "Namespace",
    "PriorityClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


@each_variant
def test_every_object_is_one_that_its_schema_takes(name: str) -> None:
    assert schemas.faults(objects(name)) == []


@each_variant
def test_nothing_is_null(name: str) -> None:
    assert "null" not in re.findall(r"(?:: |- )(\S+)\n", as_stream(objects(name)))


@each_variant
def test_every_pod_is_restricted_and_can_write_nowhere_but_to_its_volumes(name: str) -> None:
    found = [*templates(objects(name))]
    assert len(found) > 6
    for owner, template in found:
        assert pod_security.faults(template["spec"]) == [], owner
        for container in containers(template):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, owner


@each_variant
def test_every_container_says_what_it_needs_and_the_memory_it_is_held_to(name: str) -> None:
    for owner, template in templates(objects(name)):
        for container in containers(template):
            resources = container["resources"]
            assert resources["requests"]["cpu"], owner
            assert resources["requests"]["memory"] == resources["limits"]["memory"], owner


@each_variant
def test_no_pod_has_a_token_but_workers_that_tell_their_cost(name: str) -> None:
    for owner, template in templates(objects(name)):
        worker = (
            owner.startswith("Deployment") and "worker" in template["metadata"]["labels"].values()
        )
        told = variant(name).workers.deletion_cost and worker
        assert template["spec"]["automountServiceAccountToken"] is told, owner
    for account in kind(name, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@each_variant
def test_every_reference_leads_to_an_object_of_an_earlier_phase_or_to_a_known_secret(
    name: str,
) -> None:
    there: set[tuple[str, str]] = set()
    keys: dict[str, set[str]] = {}
    for phase in PHASES:
        there |= {(each["kind"], each["metadata"]["name"]) for each in rendered(name)[phase]}
        configs = (each for each in rendered(name)[phase] if each["kind"] == "ConfigMap")
        keys |= {each["metadata"]["name"]: {*each["data"]} for each in configs}
        for found in rendered(name)[phase]:
            for what, other, key in references(found):
                if what == "Secret":
                    assert key in SECRETS[other], f"{found['metadata']['name']}: {other} {key}"
                else:
                    assert (what, other) in there, f"{found['metadata']['name']}: {what} {other}"
                if what == "ConfigMap" and key:
                    assert key in keys[other]


@each_variant
def test_every_selector_finds_the_pods_that_are_meant(name: str) -> None:
    pods = [template["metadata"]["labels"] for _, template in templates(objects(name))]
    for found in objects(name):
        spec = found.get("spec", {})
        if found["kind"] in ("Deployment", "StatefulSet"):
            own = spec["template"]["metadata"]["labels"]
            assert spec["selector"]["matchLabels"] == selector(own)
            assert [
                each for each in pods if spec["selector"]["matchLabels"].items() <= each.items()
            ] == [own]
        if found["kind"] == "Service":
            assert chosen(spec["selector"], pods)
        if found["kind"] == "PodDisruptionBudget" and not is_operators(spec["selector"]):
            assert chosen(spec["selector"]["matchLabels"], pods)


@each_variant
def test_every_port_that_is_named_is_one_of_the_pods(name: str) -> None:
    found = [*templates(objects(name))]
    for owner, template in found:
        for container in containers(template):
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                checked = container.get(probe, {})
                for way in ("httpGet", "tcpSocket"):
                    if way in checked:
                        assert checked[way]["port"] in named_ports(template), owner
    for service in kind(name, "Service"):
        for template in behind(service["spec"]["selector"], found):
            wanted = {port["targetPort"] for port in service["spec"]["ports"]}
            assert wanted <= named_ports(template), service["metadata"]["name"]
    for route in [*kind(name, "Ingress"), *kind(name, "HTTPRoute")]:
        (service,) = (s for s in kind(name, "Service") if s["metadata"]["name"] == "lumbre-gateway")
        ports = {value for port in service["spec"]["ports"] for value in port.values()}
        assert {*route_ports(route)} <= ports


@each_variant
def test_every_port_that_a_policy_opens_is_one_of_the_pods(name: str) -> None:
    found = [*templates(objects(name))]
    for policy in kind(name, "NetworkPolicy"):
        labels = policy["spec"]["podSelector"].get("matchLabels", {})
        if not labels or is_operators(policy["spec"]["podSelector"]):
            continue
        opened = {
            port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule["ports"]
        }
        pods = behind(labels, found)
        assert pods, policy["metadata"]["name"]
        for template in pods:
            ports = {
                port["containerPort"]
                for each in containers(template)
                for port in each.get("ports", ())
            }
            assert opened <= ports, policy["metadata"]["name"]


@each_variant
def test_every_url_within_the_cluster_is_that_of_a_service_and_its_port(name: str) -> None:
    if variant(name).broker.kind == "operator":
        return  # whose Service has these ports
    there = {
        f"{each['metadata']['name']}.lumbre.svc:{port['port']}"
        for each in kind(name, "Service")
        for port in each["spec"]["ports"]
    }
    named = {*re.findall(r"[a-z-]+\.lumbre\.svc:\d+", as_stream(objects(name)))}
    assert named <= there and bool(named) is (variant(name).broker.kind == "pod")


@each_variant
def test_every_monitor_finds_a_service_or_a_pod_and_its_port(name: str) -> None:
    found = [*templates(objects(name))]
    for monitor in kind(name, "ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        (service,) = (
            s for s in kind(name, "Service") if labels.items() <= s["metadata"]["labels"].items()
        )
        names = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= names
    for monitor in kind(name, "PodMonitor"):
        chosen_by = monitor["spec"]["selector"]
        if is_operators(chosen_by):
            continue
        either = {each["key"]: each["values"] for each in chosen_by.get("matchExpressions", ())}
        pods = [
            template
            for template in behind(chosen_by["matchLabels"], found)
            if all(template["metadata"]["labels"].get(key) in some for key, some in either.items())
        ]
        assert pods
        for template in pods:
            ports = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
            assert ports <= named_ports(template)


@each_variant
def test_nothing_that_is_rendered_is_secret(name: str) -> None:
    text = as_stream(objects(name))
    assert not re.search(r"://[^/\s:@]*:[^/\s@]+@", text)
    assert "kind: Secret" not in text
    for owner, template in templates(objects(name)):
        for container in containers(template):
            for entry in container.get("env", ()):
                if re.search(r"PASS|SECRET|TOKEN|_KEY$|LEDGER_URL", entry["name"]):
                    assert "value" not in entry, f"{owner}: {entry['name']}"


@each_variant
def test_every_object_is_named_labelled_and_in_its_place_once(name: str) -> None:
    found = objects(name)
    identities = Counter((each["kind"], each["metadata"]["name"]) for each in found)
    assert max(identities.values()) == 1
    for each in found:
        labels = each["metadata"]["labels"]
        assert (
            labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/managed-by"] == "lumbre"
        )
        assert labels["app.kubernetes.io/part-of"] == "lumbre" and labels[COMPONENT]
        assert len(each["metadata"]["name"]) <= 63
        assert ("namespace" in each["metadata"]) is (each["kind"] not in CLUSTER)


@each_variant
def test_a_pods_volumes_are_all_mounted_and_its_mounts_are_all_volumes(name: str) -> None:
    claims = {
        owner["metadata"]["name"]: {
            each["metadata"]["name"] for each in owner["spec"]["volumeClaimTemplates"]
        }
        for owner in kind(name, "StatefulSet")
    }
    for owner, template in templates(objects(name)):
        own = {volume["name"] for volume in template["spec"]["volumes"]}
        mounted = {m["name"] for each in containers(template) for m in each["volumeMounts"]}
        assert mounted == own | claims.get(owner.partition(" ")[2], set()), owner


def test_the_same_functions_and_values_make_the_same_whatever_their_order() -> None:
    values = variant("production")
    first = as_stream(all_of(bundle(functions(), values)))
    assert as_stream(all_of(bundle([*reversed(functions())], values))) == first


def test_a_stream_is_read_as_what_was_written() -> None:
    written = objects("dev-everything")
    text = as_stream(written, headline(variant("dev-everything")))
    assert [*yaml.safe_load_all(text)] == written
    assert text.startswith(f"# {MARK} ")
    assert "lumbre deploy render --overlay dev\n" in text.partition("---")[0]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    values = read_values("production", overrides={"broker": {"kind": "external"}})
    with pytest.raises(ConfigurationError) as caught:
        bundle([made_up("slow", timeout=2000.0)], values)
    for part in ("broker.url is missing", "broker.management_url is missing", "function slow"):
        assert part in str(caught.value)


def test_a_folder_has_a_file_for_each_component_and_lists_them_in_order(tmp_path: Path) -> None:
    written = write_folder(rendered("production"), tmp_path, headline(variant("production")))
    (kustomization,) = yaml.safe_load_all((tmp_path / KUSTOMIZATION).read_text())
    assert [tmp_path / each for each in kustomization["resources"]] == written[:-1]
    assert kustomization["kind"] == "Kustomization"
    assert {*tmp_path.glob("**/*.yaml")} == {*written}
    phases = [resource.partition("/")[0] for resource in kustomization["resources"]]
    assert [*dict.fromkeys(phases)] == [*PHASES]
    assert "functions/matmul-gpu.yaml" in kustomization["resources"]
    read = [each for path in written[:-1] for each in yaml.safe_load_all(path.read_text())]
    assert sorted(map(repr, read)) == sorted(map(repr, objects("production")))


def test_a_folder_that_is_written_again_has_no_file_of_a_function_that_is_gone(
    tmp_path: Path,
) -> None:
    values = variant("dev")
    write_folder(bundle([made_up("one"), made_up("two")], values), tmp_path, headline(values))
    mine = tmp_path / "mine.yaml"
    mine.write_text("kind: ConfigMap\n")
    assert (tmp_path / "functions" / "two-cpu.yaml").is_file()
    write_folder(bundle([made_up("one")], values), tmp_path, headline(values))
    assert not (tmp_path / "functions" / "two-cpu.yaml").exists()
    assert (tmp_path / "functions" / "one-cpu.yaml").is_file()
    assert mine.is_file()


def test_a_file_of_somebody_elses_is_not_written_over(tmp_path: Path) -> None:
    values = variant("dev")
    (tmp_path / KUSTOMIZATION).write_text("resources: [mine.yaml]\n")
    with pytest.raises(ConfigurationError, match=r"kustomization\.yaml is there and not Lumbre's"):
        write_folder(rendered("dev"), tmp_path, headline(values))
    assert [*tmp_path.iterdir()] == [tmp_path / KUSTOMIZATION]


def test_values_that_say_nothing_make_a_bundle_too() -> None:
    assert schemas.faults(all_of(bundle([made_up()], Values()))) == []


def kind(name: str, which: str) -> list[Object]:
    return [each for each in objects(name) if each["kind"] == which]


def all_of(found: dict[str, list[Object]]) -> list[Object]:
    return [each for phase in PHASES for each in found[phase]]


def chosen(labels: dict[str, str], pods: list[dict[str, str]]) -> bool:
    return any(labels.items() <= each.items() for each in pods)


def behind(labels: dict[str, str], found: list[tuple[str, Object]]) -> list[Object]:
    return [t for _, t in found if labels.items() <= t["metadata"]["labels"].items()]


def is_operators(choice: Object) -> bool:
    """Whether pods are meant that RabbitMQ's cluster operator makes, and labels."""
    return bool(choice["matchLabels"] == {"app.kubernetes.io/name": "lumbre-rabbitmq"})


def route_ports(route: Object) -> list[object]:
    rules = route["spec"]["rules"]
    if route["kind"] == "Ingress":
        return [
            path["backend"]["service"]["port"]["name"]
            for rule in rules
            for path in rule["http"]["paths"]
        ]
    return [backend["port"] for rule in rules for backend in rule["backendRefs"]]
