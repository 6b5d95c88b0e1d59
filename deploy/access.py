"""Who pods are to Kubernetes: ServiceAccounts, and the one right that one of them has.

Only workers ask Kubernetes for anything: they say how dear it would be to delete their own pod.
RBAC can allow that for all pods of the namespace or for none; an admission policy (Kubernetes 1.30)
narrows it to the pod whose token is used, and to that one annotation.
"""

from deploy.namespace import PLATFORM
from deploy.pod import Object, labels, metadata
from deploy.values import Values

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
POD_NAME = "authentication.kubernetes.io/pod-name"  # in a token that is bound to a pod
BLOB_USERS = ("gateway", "recorder", "console", "worker")


def account(component: str) -> str:
    """The name of a component's ServiceAccount."""
    return f"lumbre-{component}"


def access(values: Values) -> list[Object]:
    """ServiceAccounts without tokens; with `workers.deletion_cost`, what workers need for it."""
    found = [_account(component, values) for component in _components(values)]
    if values.workers.deletion_cost:
        found += [_role(values), _binding(values), _policy(values), _policy_binding(values)]
    return found


def _components(values: Values) -> list[str]:
    there = {
        "gateway": True,
        "recorder": True,
        "console": values.console,
        "worker": True,
        "job": True,
        "broker": values.broker.kind == "pod",
        "database": values.database.kind == "pod",
    }
    return [component for component, exists in there.items() if exists]


def _account(component: str, values: Values) -> Object:
    identity = dict(values.blobs.identity) if component in BLOB_USERS else {}
    more = {"annotations": identity} if identity else {}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(account(component), values, labels(component), **more),
        "automountServiceAccountToken": False,
    }


def _role(values: Values) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(account("worker"), values, labels("worker")),
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"]}],
    }


def _binding(values: Values) -> Object:
    name = account("worker")
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(name, values, labels("worker")),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": values.namespace}],
    }


def _policy(values: Values) -> Object:
    user = f"system:serviceaccount:{values.namespace}:{account('worker')}"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": _policy_name(values), "labels": labels(PLATFORM)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["UPDATE"],  # a patch is one
                        "resources": ["pods"],
                    }
                ]
            },
            "matchConditions": [
                {"name": "by-a-worker", "expression": f"request.userInfo.username == '{user}'"}
            ],
            "validations": [
                {"expression": expression, "message": message}
                for expression, message in _validations()
            ],
        },
    }


def _validations() -> list[tuple[str, str]]:
    only = f"a worker may change nothing but the annotation {DELETION_COST}"
    fields = ("labels", "ownerReferences", "finalizers")
    return [
        (
            "has(request.userInfo.extra)"
            f" && '{POD_NAME}' in request.userInfo.extra"
            f" && request.userInfo.extra['{POD_NAME}'] == [request.name]",
            "a worker may change its own pod only, with the token that is bound to it",
        ),
        ("object.spec == oldObject.spec", only),
        *((_unchanged(field, "[]" if field != "labels" else "{}"), only) for field in fields),
        (f"{_others('object', 'oldObject')} && {_others('oldObject', 'object')}", only),
    ]


def _unchanged(field: str, none: str) -> str:
    now, before = (
        f"{which}.metadata.?{field}.orValue({none})" for which in ("object", "oldObject")
    )
    return f"{now} == {before}"


def _others(one: str, other: str) -> str:
    """All annotations of one are in the other and the same, but for the deletion cost."""
    first, second = (f"{which}.metadata.?annotations.orValue({{}})" for which in (one, other))
    same = f"name in {second} && {first}[name] == {second}[name]"
    return f"{first}.all(name, name == '{DELETION_COST}' || ({same}))"


def _policy_binding(values: Values) -> Object:
    space = {"matchLabels": {"kubernetes.io/metadata.name": values.namespace}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": _policy_name(values), "labels": labels(PLATFORM)},
        "spec": {
            "policyName": _policy_name(values),
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": space},
        },
    }


def _policy_name(values: Values) -> str:
    return (
        f"{account('worker')}-{values.namespace}"  # of the cluster: another namespace has its own
    )
