"""Who may ask Kubernetes what: workers, for their own pod's deletion cost, and nobody else."""

from typing import Any

from deploy.access import DELETION_COST, access
from deploy.namespace import namespace
from deploy.values import Values, read_values


def by_kind(values: Values) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in access(values):
        found.setdefault(each["kind"], []).append(each)
    return found


def test_the_one_right_is_to_change_pods() -> None:
    found = by_kind(read_values("dev"))
    (role,) = found["Role"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"]}]
    (binding,) = found["RoleBinding"]
    (subject,) = binding["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "lumbre-worker", "namespace": "lumbre"}


def test_without_the_cost_nobody_has_any_right() -> None:
    values = read_values("dev", overrides={"workers": {"deletion_cost": False}})
    assert by_kind(values).keys() == {"ServiceAccount"}


def test_a_policy_holds_workers_to_their_own_pod_and_that_annotation() -> None:
    values = read_values("dev", overrides={"namespace": "teams"})
    (policy,) = by_kind(values)["ValidatingAdmissionPolicy"]
    spec = policy["spec"]
    (condition,) = spec["matchConditions"]
    user = "system:serviceaccount:teams:lumbre-worker"
    assert condition["expression"] == f"request.userInfo.username == '{user}'"
    assert spec["failurePolicy"] == "Fail"
    expressions = [each["expression"] for each in spec["validations"]]
    assert "authentication.kubernetes.io/pod-name" in expressions[0]
    text = "\n".join(expressions)
    for field in ("spec", "labels", "ownerReferences", "finalizers", "annotations"):
        assert field in text
    assert DELETION_COST in text
    (binding,) = by_kind(values)["ValidatingAdmissionPolicyBinding"]
    assert binding["spec"]["validationActions"] == ["Deny"]
    assert binding["spec"]["policyName"] == policy["metadata"]["name"] == "lumbre-worker-teams"
    space = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
    assert space == {"kubernetes.io/metadata.name": "teams"}


def test_clouds_know_the_accounts_that_use_blobs_where_they_are_told_to() -> None:
    identity = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/lumbre"}
    values = read_values("production", overrides={"blobs": {"identity": identity}})
    told = {
        each["metadata"]["name"]: each["metadata"].get("annotations")
        for each in by_kind(values)["ServiceAccount"]
    }
    assert told["lumbre-gateway"] == told["lumbre-recorder"] == told["lumbre-worker"] == identity
    assert told["lumbre-job"] is None


def test_a_store_elsewhere_needs_no_account() -> None:
    names = {
        each["metadata"]["name"] for each in by_kind(read_values("production"))["ServiceAccount"]
    }
    assert not names & {"lumbre-broker", "lumbre-database"}
    names = {each["metadata"]["name"] for each in by_kind(read_values("dev"))["ServiceAccount"]}
    assert {"lumbre-broker", "lumbre-database"} <= names


def test_the_namespace_enforces_what_is_rendered_and_warns_of_the_rest() -> None:
    (found, *priorities) = namespace(read_values("dev"))
    labels = found["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "latest"
    order = {each["metadata"]["name"]: each["value"] for each in priorities}
    assert order["lumbre-gateway"] > order["lumbre-gpu-worker"] > order["lumbre-worker"] > 0
    # The server drops a false: who applied it would own nothing, and conflict with others.
    assert not any("globalDefault" in each for each in priorities)


def test_a_quota_is_what_the_values_say() -> None:
    assert not [each for each in namespace(Values()) if each["kind"] == "ResourceQuota"]
    quota = namespace(Values(quota={"services.nodeports": "0"}))[-1]
    assert quota["spec"] == {"hard": {"services.nodeports": "0"}}
