"""Pod Security "restricted": every rule finds who breaks it, and nothing else."""

import copy
from typing import Any

import pytest

from deploy.pod import container_security, pod_security
from deploy.pod import pod as make_pod
from deploy.values import Values
from tests.deploy.pod_security import faults


def spec() -> dict[str, Any]:
    container = {"name": "one", "securityContext": container_security()}
    volumes = [{"name": "tmp", "emptyDir": {}}]
    return make_pod(Values(), [copy.deepcopy(container)], account="lumbre-job", volumes=volumes)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The pod, with something at a path; DELETE takes what is there away."""
    found = spec()
    *way, last = path.split(".")
    inner: Any = found
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner.setdefault(step, {})
    if value is DELETE:
        del inner[last]
    else:
        inner[last] = value
    return found


DELETE = object()
CONTAINER = "containers.0.securityContext"


def test_a_pod_of_ours_breaks_no_rule() -> None:
    assert faults(spec()) == []
    assert pod_security()["runAsUser"] == pod_security()["fsGroup"] == 10001


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("hostNetwork", True, "Host Namespaces"),
        ("hostPID", True, "Host Namespaces"),
        ("hostIPC", True, "Host Namespaces"),
        ("volumes", [{"name": "v", "hostPath": {"path": "/"}}], "HostPath Volumes"),
        ("volumes", [{"name": "v", "nfs": {"server": "s", "path": "/"}}], "Volume Types"),
        ("securityContext.runAsUser", 0, "Running as Non-root user"),
        ("securityContext.runAsNonRoot", False, "Running as Non-root"),
        ("securityContext.runAsNonRoot", DELETE, "Running as Non-root"),
        ("securityContext.seccompProfile", {"type": "Unconfined"}, "Seccomp"),
        ("securityContext.seccompProfile", DELETE, "Seccomp"),
        ("securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], "Sysctls"),
        ("securityContext.seLinuxOptions", {"user": "u"}, "SELinux"),
        ("securityContext.appArmorProfile", {"type": "Unconfined"}, "AppArmor"),
        ("securityContext.windowsOptions", {"hostProcess": True}, "HostProcess"),
        (f"{CONTAINER}.privileged", True, "Privileged Containers"),
        (f"{CONTAINER}.procMount", "Unmasked", "/proc Mount Type"),
        ("containers.0.ports", [{"containerPort": 1, "hostPort": 1}], "Host Ports"),
        (f"{CONTAINER}.allowPrivilegeEscalation", True, "Privilege Escalation"),
        (f"{CONTAINER}.allowPrivilegeEscalation", DELETE, "Privilege Escalation"),
        (f"{CONTAINER}.runAsNonRoot", False, "Running as Non-root"),
        (f"{CONTAINER}.runAsUser", 0, "Running as Non-root user"),
        (f"{CONTAINER}.seccompProfile", {"type": "Unconfined"}, "Seccomp"),
        (f"{CONTAINER}.capabilities", DELETE, "Capabilities"),
        (f"{CONTAINER}.capabilities", {"drop": ["NET_RAW"]}, "Capabilities"),
        (f"{CONTAINER}.capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "Capabilities"),
        ("initContainers", [{"name": "two"}], "Privilege Escalation"),
    ],
)
def test_a_broken_rule_is_found_and_named(path: str, value: Any, rule: str) -> None:
    assert rule in [fault.partition(": ")[2] for fault in faults(changed(path, value))]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{CONTAINER}.capabilities", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
        ("securityContext.seccompProfile", {"type": "Localhost", "localhostProfile": "p"}),
        ("securityContext.sysctls", [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]),
        ("volumes", [{"name": "v", "secret": {"secretName": "s"}}]),
        ("hostNetwork", False),
    ],
)
def test_what_the_rules_allow_is_let_through(path: str, value: Any) -> None:
    assert faults(changed(path, value)) == []
