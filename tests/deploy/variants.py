"""Bundles of the overlays, and of what values can make of them."""

from functools import cache
from pathlib import Path
from typing import Any

from deploy.bundle import PHASES, bundle
from deploy.pod import Object
from deploy.values import Values, read_values
from runtime.function import FunctionSpec, Resources, Scaling
from tests.specs import made_up, shipped

AUTHORITY = (Path(__file__).parent / "authority.pem").read_text()  # nobody has its key
EXTERNAL = {
    "kind": "external",
    "secret": "rabbitmq",
    "nodes": 1,
    "url": "amqps://one.example,two.example:5673/lumbre",
    "management_url": "https://one.example:15671",
}
EVERYTHING = {
    "console": True,
    "trigger": "push",
    "images": {"pull_secrets": ["registry"]},
    "broker": {"storage": {"storage_class": "fast"}},
    "callbacks": {"hosts": ["hooks.example", "10.1.2.3:8443"], "secret": "lumbre-callbacks"},
    "quota": {"services.nodeports": "0"},
    "monitoring": {"enabled": True},
    "workers": {"ports": [443], "deletion_cost": False},
    "settings": {"retention_age": "86400"},
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "dev": ("dev", {}),
    "dev-push": ("dev", {"trigger": "push"}),
    "dev-everything": ("dev", EVERYTHING),
    "production": ("production", {}),
    "production-external": ("production", {"broker": EXTERNAL}),
    "production-private": ("production", {"broker": EXTERNAL | {"ca": AUTHORITY}}),
    "production-httproute": (
        "production",
        {"gateway": {"route": {"kind": "httproute", "tls_secret": "", "gateway": "edge/public"}}},
    ),
    "production-dra": (
        "production",
        {"gpus": {"device_class": "gpu.nvidia.com", "runtime_class": "nvidia"}},
    ),
    "production-mig": ("production", {"gpus": {"resource": "nvidia.com/mig-1g.10gb", "nodes": {}}}),
    "production-fixed": ("production", {"gateway": {"max_replicas": 1}}),
}


def functions() -> tuple[FunctionSpec, ...]:
    """The shipped ones, one that runs for long, and one whose name YAML might take for a word."""
    long = made_up("train_for_long", devices=("gpu",), timeout=1200.0)
    sized = made_up("y", scaling=Scaling(min_replicas=2), resources=Resources(2, 2**30))
    return (*shipped(), long, sized)


def variant(name: str) -> Values:
    """The values of a variant."""
    overlay, overrides = VARIANTS[name]
    return read_values(overlay, overrides=overrides)


@cache
def rendered(name: str) -> dict[str, list[Object]]:
    """The bundle of a variant; read it, and change nothing in it."""
    return bundle(functions(), variant(name))


def objects(name: str) -> list[Object]:
    """The same in one list, in the order of applying."""
    return [found for phase in PHASES for found in rendered(name)[phase]]
