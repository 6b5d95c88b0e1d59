"""All objects of a deployment, in the phases in which they are applied.

What is in a phase needs those before it: roles need the ledger's tables and the queues, which jobs
make, which need the stores.  `lumbre deploy apply` waits between them; whoever applies all at once
sees pods start again until what they need is there.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autoscaler.keda import trigger_authentication
from autoscaler.trigger import AUTHENTICATION
from deploy.configmap import MANAGEMENT_KEY
from deploy.namespace import PLATFORM
from deploy.platform import platform_phases
from deploy.pod import AUTHORITY, COMPONENT, CONFIG, DEVICE, FUNCTION, Object, labels, metadata
from deploy.stream import as_stream
from deploy.values import Values
from deploy.workload import check, workload
from runtime.errors import ConfigurationError
from runtime.function import FunctionSpec

PHASES = ("foundation", "stores", "jobs", "services", "functions")
KUSTOMIZATION = "kustomization.yaml"
MARK = "Made by Lumbre"  # begins files that may be replaced
FILES = {  # of what belongs to no role
    "Namespace": "namespace",
    "PriorityClass": "namespace",
    "ResourceQuota": "namespace",
    "NetworkPolicy": "network",
    "ConfigMap": "settings",
    "PersistentVolumeClaim": "blobs",
    "TriggerAuthentication": "keda",
    "ServiceMonitor": "monitoring",
    "PodMonitor": "monitoring",
    "PrometheusRule": "monitoring",
}
ACCESS = frozenset(
    {
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)


def bundle(specs: Sequence[FunctionSpec], values: Values) -> dict[str, list[Object]]:
    """The objects of each phase, in the order of applying; the same for the same arguments.

    Raises ConfigurationError with a line for everything that cannot work.
    """
    ordered = sorted(specs, key=lambda spec: spec.name)
    faults = []
    for checked in (lambda: platform_phases(ordered, values), lambda: check(ordered, values)):
        try:
            checked()
        except ConfigurationError as error:
            faults.append(str(error))
    if faults:
        raise ConfigurationError("\n".join(faults))
    functions = [found for spec in ordered for found in workload(spec, values)]
    return platform_phases(ordered, values) | {
        "functions": [_authentication(values), *functions],
    }


def _authentication(values: Values) -> Object:
    """Also with trigger=push, where long functions' ScaledJobs still ask RabbitMQ."""
    return trigger_authentication(
        values.broker.secret,
        CONFIG,
        MANAGEMENT_KEY,
        authority=AUTHORITY if values.broker.ca else "",
        metadata=metadata(AUTHENTICATION, values, labels(PLATFORM)),
    )


def headline(values: Values) -> str:
    """What a file of objects begins with: who made it, and how it is made again."""
    return (
        f"{MARK} {_version()}: lumbre deploy render --overlay {values.overlay}\n"
        "Do not edit: change the functions or the values, and render again.\n"
        "Secrets are not in here: lumbre deploy apply, or deploy/scripts/make_secrets.sh, makes"
        " them."
    )


def _version() -> str:
    try:
        return version("lumbre")
    except PackageNotFoundError:
        return "from source"


def write_folder(bundle: Mapping[str, Iterable[Object]], folder: Path, head: str) -> list[Path]:
    """Write a file for each component, and a kustomization.yaml that lists them in order.

    Files that an earlier call wrote and that have no object any more are removed; a file of
    somebody else's in the way is a ConfigurationError, and nothing is written.  Returns what was
    written.
    """
    parts: dict[Path, list[Object]] = {}
    for phase in PHASES:
        for found in bundle.get(phase, ()):
            parts.setdefault(Path(phase) / f"{_file(found)}.yaml", []).append(found)
    texts = {folder / path: as_stream(found, head) for path, found in parts.items()}
    texts[folder / KUSTOMIZATION] = as_stream([_kustomization(parts)], head)
    earlier = {path for path in folder.glob("**/*.yaml") if _is_own(path)}
    for path in texts:
        if path.exists() and path not in earlier:
            raise ConfigurationError(
                f"{path} is there and not Lumbre's: move it, or name another folder"
            )
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in earlier - texts.keys():
        path.unlink()
    return list(texts)


def _is_own(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(f"# {MARK}")


def _file(found: Object) -> str:
    own = found["metadata"]["labels"]
    if own[COMPONENT] == "worker" and FUNCTION in own:
        return f"{own[FUNCTION]}-{own[DEVICE]}"
    if found["kind"] in ACCESS:
        return "access"
    if own[COMPONENT] == PLATFORM:
        return FILES[found["kind"]]
    return str(own[COMPONENT])


def _kustomization(paths: Iterable[Path]) -> Object:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [path.as_posix() for path in paths],
    }
