"""What a cluster is like, and what shall run on it: an overlay's values, read and checked.

An overlay is a YAML file of these fields (`deploy/overlays/`); a file of one's own may say some of
them again, and flags of `lumbre deploy` a few.  No secret is among them: they name the Secrets.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtime.errors import ConfigurationError
from runtime.model import Device

OVERLAYS = ("dev", "production")
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123
QUANTITY = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"  # Kubernetes' resource quantities


def _text(value: Any) -> Any:
    """What YAML reads as a number or a truth, as it is written in an environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_text)]


class Part(BaseModel):
    """Some of the values; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Images(Part):
    """The container images; each serves every role that it has the libraries for."""

    cpu: str = "lumbre:cpu"
    gpu: str = "lumbre:cuda"
    gateway: str = "lumbre:gateway"  # without torch: gateway, recorder, console and jobs
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


class Gpus(Part):
    """The GPUs that the nodes offer, and how a pod asks for one."""

    count: int | None = Field(None, ge=0)  # of all nodes together; None: not known
    resource: str = "nvidia.com/gpu"  # or a MIG profile: nvidia.com/mig-1g.10gb
    taint: str = "nvidia.com/gpu"  # of GPU nodes, NoSchedule; only GPU pods tolerate it
    nodes: dict[str, tuple[Text, ...]] = {"nvidia.com/gpu.present": ("true",)}  # node affinity
    runtime_class: str = ""  # "nvidia" where that is not the nodes' default
    device_class: str = ""  # DRA: claim a device of this class instead of the resource


class Storage(Part):
    """A volume that is asked for."""

    size: str = Field("10Gi", pattern=QUANTITY)
    storage_class: str = ""  # empty: the cluster's default


class Broker(Part):
    """RabbitMQ: one pod (dev), a RabbitmqCluster of the cluster operator, or one elsewhere."""

    kind: Literal["pod", "operator", "external"] = "pod"
    secret: str = (
        "lumbre-broker"  # keys: username, password (operator: lumbre-rabbitmq-default-user)
    )
    url: str = ""  # external: amqp[s]://HOST[:PORT]/VHOST, without credentials
    management_url: str = ""  # external: http[s]://HOST:15672, without credentials
    ca: str = ""  # external: certificates (PEM) that both must prove themselves by; empty: public
    image: str = ""  # empty: rabbitmq:4.2-management; operator: its own, which suits its probes
    operator_namespace: str = "rabbitmq-system"  # whence the operator asks the management API
    nodes: int = Field(1, ge=1)
    storage: Storage = Storage()
    cpu: str = Field("500m", pattern=QUANTITY)
    memory: str = Field("1Gi", pattern=QUANTITY)
    consumer_timeout: float = Field(1800, ge=60)  # seconds, rabbitmq.conf's consumer_timeout


class Database(Part):
    """The ledger's PostgreSQL: one pod (dev), or one elsewhere."""

    kind: Literal["pod", "external"] = "pod"
    secret: str = "lumbre-database"  # keys: url (postgresql://…); for the pod: password, too
    image: str = "postgres:17"  # of Debian: its postgres is user 999
    port: int = Field(5432, ge=1, le=65535)  # external: what the URL says
    storage: Storage = Storage()
    cpu: str = Field("250m", pattern=QUANTITY)
    memory: str = Field("512Mi", pattern=QUANTITY)


class Blobs(Part):
    """Where large inputs and outputs are: a volume that pods share, or an object store."""

    url: str = ""  # s3://bucket/lumbre; empty: a volume
    secret: str = ""  # its keys become variables of the pods, such as AWS_ACCESS_KEY_ID
    identity: dict[str, Text] = {}  # instead: annotations of ServiceAccounts that a cloud knows
    port: int = Field(443, ge=1, le=65535)  # of the object store
    storage: Storage = Storage()
    access: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"  # of the volume


class Route(Part):
    """How callers outside the cluster reach the gateway."""

    kind: Literal["none", "ingress", "httproute"] = "none"
    host: str = ""
    namespace: str = ""  # of the ingress controller: nobody else reaches gateways; empty: anybody
    ingress_class: str = ""  # empty: the cluster's default
    tls_secret: str = ""  # ingress: a Secret of type kubernetes.io/tls
    gateway: str = ""  # httproute: NAME or NAMESPACE/NAME of the Gateway
    annotations: dict[str, Text] = {}


class Gateway(Part):
    """The gateway's Deployment and its HPA, where max_replicas is more than replicas."""

    replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    cpu: str = Field("500m", pattern=QUANTITY)
    memory: str = Field("512Mi", pattern=QUANTITY)
    insecure: bool = False  # no API keys asked for
    max_wait: float = Field(300, gt=0)  # seconds, LUMBRE_MAX_WAIT: routes must wait longer
    route: Route = Route()


class Recorder(Part):
    """The recorder's Deployment."""

    replicas: int = Field(1, ge=1)
    cpu: str = Field("250m", pattern=QUANTITY)
    memory: str = Field("512Mi", pattern=QUANTITY)


class Callbacks(Part):
    """Where outcomes may be POSTed to."""

    hosts: tuple[str, ...] = ()  # as LUMBRE_CALLBACK_HOSTS takes them; none: no callbacks
    secret: str = ""  # its key `secret` signs them


class Workers(Part):
    """What pods of workers get, where a function's own `resources` does not say."""

    cpu: str = Field("1", pattern=QUANTITY)
    memory: str = Field("2Gi", pattern=QUANTITY)
    gpu_memory: str = Field("8Gi", pattern=QUANTITY)  # of GPU workers: libraries, and shm
    command: tuple[str, ...] = ()  # instead of the image's `lumbre`; arguments follow it
    deletion_cost: bool = True  # raised while busy, so that scale-in takes an idle pod first
    scratch: str = Field("4Gi", pattern=QUANTITY)  # the most a pod may write to /tmp, or to caches
    shm: str = Field("1Gi", pattern=QUANTITY)  # /dev/shm of GPU workers, part of their memory
    env: dict[str, Text] = {}
    ports: tuple[int, ...] = ()  # that functions may reach anywhere, such as 443; none: no other


class Monitoring(Part):
    """ServiceMonitor and PodMonitor of the Prometheus operator."""

    enabled: bool = False
    namespace: str = "monitoring"  # whence Prometheus may scrape
    labels: dict[str, Text] = {"release": "prometheus"}
    interval: str = Field("15s", pattern="[0-9]+(s|m)")
    secret: str = "lumbre-metrics"  # its key `key` is an API key that may `read`


class Values(Part):
    """All of an overlay."""

    overlay: str = "dev"
    namespace: str = Field("lumbre", pattern=f"^{LABEL}$")
    trigger: Literal["rabbitmq", "push"] = "rabbitmq"
    devices: tuple[Device, ...] = Field(("cpu", "gpu"), min_length=1)  # no others are rendered
    images: Images = Images()
    gpus: Gpus = Gpus()
    broker: Broker = Broker()
    database: Database = Database()
    blobs: Blobs = Blobs()
    gateway: Gateway = Gateway()
    recorder: Recorder = Recorder()
    callbacks: Callbacks = Callbacks()
    console: bool = False  # one of its own, beside the gateways'
    workers: Workers = Workers()
    monitoring: Monitoring = Monitoring()
    keda_namespace: str = "keda"
    functions_path: str = "/app/functions"  # in the images
    settings: dict[str, Text] = {}  # further ones of all pods, such as retention_age: 86400
    quota: dict[str, Text] = {}  # `hard` of a ResourceQuota, such as services.nodeports: 0
    api_ports: tuple[int, ...] = (443, 6443)  # of Kubernetes' API, for workers' deletion cost


def read_values(
    overlay: str, files: Sequence[str] = (), overrides: Mapping[str, Any] | None = None
) -> Values:
    """An overlay, with what `files` (YAML) and then `overrides` (nested) say again.

    Raises ConfigurationError naming the file or field, what was wrong and what it takes.
    """
    if overlay not in OVERLAYS:
        raise ConfigurationError(f"there is no overlay {overlay!r}: {' or '.join(OVERLAYS)}")
    shipped = resources.files("deploy") / "overlays" / f"{overlay}.yaml"
    merged = _merged(_mapping(shipped.read_text(), str(shipped)), {"overlay": overlay})
    for file in files:
        try:
            with open(file, encoding="utf-8") as opened:
                text = opened.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} cannot be read: {error}") from None
        merged = _merged(merged, _mapping(text, file))
    try:
        return Values.model_validate(_merged(merged, overrides or {}))
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors()
        ]
        raise ConfigurationError("; ".join(faults)) from None


def _mapping(text: str, source: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source} is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"{source}: it must hold fields with values, such as namespace: lumbre"
        )
    return found


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, where `above` counts; mappings are merged, lists replaced."""
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(known, value) if both else value  # type: ignore[arg-type]
    return merged
