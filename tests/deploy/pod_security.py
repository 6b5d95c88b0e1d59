"""Pod Security "restricted", as Kubernetes' page on the Pod Security Standards has it.

Its rules by their names there, those of "baseline" first, which "restricted" includes.  AppArmor,
SELinux and what is for Windows only are held to "not said", since Lumbre says nothing of them.
"""

from collections.abc import Iterator
from typing import Any

from deploy.pod import Object

VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    }
)
SECCOMP = ("RuntimeDefault", "Localhost")
KINDS = ("containers", "initContainers", "ephemeralContainers")


def faults(spec: Object) -> list[str]:
    """The rules that a pod's spec breaks, each with the field."""
    found = [*_pod(spec)]
    for kind in KINDS:
        for number, container in enumerate(spec.get(kind, ())):
            found += [f"{kind}[{number}].{fault}" for fault in _container(container, spec)]
    return found


def _pod(spec: Object) -> Iterator[str]:
    security = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field}: Host Namespaces"
    for volume in spec.get("volumes", ()):
        if "hostPath" in volume:
            yield f"volumes.{volume['name']}: HostPath Volumes"
        if not volume.keys() - {"name"} <= VOLUMES:
            yield f"volumes.{volume['name']}: Volume Types"
    if security.get("runAsUser") == 0:
        yield "securityContext.runAsUser: Running as Non-root user"
    for sysctl in security.get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"securityContext.sysctls.{sysctl['name']}: Sysctls"
    for field, rule in _UNSAID.items():
        if field in security:
            yield f"securityContext.{field}: {rule}"


_UNSAID = {
    "appArmorProfile": "AppArmor",
    "seLinuxOptions": "SELinux",
    "windowsOptions": "HostProcess",
}


def _container(container: Object, spec: Object) -> Iterator[str]:
    own: dict[str, Any] = container.get("securityContext", {})
    pod: dict[str, Any] = spec.get("securityContext", {})
    if own.get("privileged"):
        yield "securityContext.privileged: Privileged Containers"
    for field, rule in (_UNSAID | {"procMount": "/proc Mount Type"}).items():
        if field in own:
            yield f"securityContext.{field}: {rule}"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "ports.hostPort: Host Ports"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "securityContext.allowPrivilegeEscalation: Privilege Escalation"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "securityContext.runAsNonRoot: Running as Non-root"
    if own.get("runAsUser") == 0:
        yield "securityContext.runAsUser: Running as Non-root user"
    seccomp = own.get("seccompProfile", pod.get("seccompProfile", {}))
    if seccomp.get("type") not in SECCOMP:
        yield "securityContext.seccompProfile: Seccomp"
    capabilities = own.get("capabilities", {})
    added = {*capabilities.get("add", ())}
    if "ALL" not in capabilities.get("drop", ()) or added - {"NET_BIND_SERVICE"}:
        yield "securityContext.capabilities: Capabilities"
