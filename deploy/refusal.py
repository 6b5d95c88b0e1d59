"""Values that cannot work together, each told with its name and what to write instead."""

import re
import ssl
from collections.abc import Iterator
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr, TypeAdapter, ValidationError

from deploy.pod import settings
from deploy.values import LABEL, Broker, Values
from runtime.brokers.rabbitmq.address import Address
from runtime.destination import Allowed
from runtime.errors import ConfigurationError
from runtime.settings import Settings

HOST = re.compile(rf"(\*\.)?{LABEL}(\.{LABEL})*")
OWN = ("host", "port", "insecure", "catalog", "grace", "health_port", "scaler_port", "devices")


def check_values(values: Values) -> None:
    """ConfigurationError with a line for each value that cannot work."""
    faults = [
        *_broker(values.broker),
        *_stores(values),
        *_gateway(values),
        *_callbacks(values),
        *_settings(values),
    ]
    if faults:
        raise ConfigurationError("\n".join(faults))


def _broker(broker: Broker) -> Iterator[str]:
    urls = {"broker.url": broker.url, "broker.management_url": broker.management_url}
    if broker.kind == "external":
        yield from _external(urls)
        if broker.ca:
            yield from _authority(broker)
        return
    for name, given in (urls | {"broker.ca": broker.ca}).items():
        if given:
            yield f"{name} is of a broker elsewhere: write broker.kind: external, or leave it out"
    if broker.kind == "pod" and broker.nodes > 1:
        yield f"broker.nodes={broker.nodes}: one pod is no cluster: write broker.kind: operator"
    if broker.kind == "operator" and broker.nodes % 2 == 0:
        yield (
            f"broker.nodes={broker.nodes}: a queue needs most of its copies, so that an even number"
            f" bears no more than one less: write {broker.nodes - 1} or {broker.nodes + 1}"
        )
    if broker.kind == "operator" and broker.secret == Broker.model_fields["secret"].default:
        yield (
            f"broker.secret={broker.secret}: the cluster operator makes its own: write"
            " lumbre-rabbitmq-default-user"
        )


def _external(urls: dict[str, str]) -> Iterator[str]:
    examples = {
        "broker.url": "amqps://rabbitmq.example:5671/",
        "broker.management_url": "https://rabbitmq.example:15671",
    }
    for name, url in urls.items():
        if not url:
            yield f"{name} is missing: with broker.kind: external write, say, {examples[name]}"
        elif "@" in url:
            yield f"{name} has a user in it: user and password belong into the Secret broker.secret"
        elif name == "broker.url":
            try:
                Address.parse(url)
            except ConfigurationError as error:
                yield f"{name}: {error}"
        elif not _is_http(url):
            yield f"{name}={url!r} is no such URL: write, say, {examples[name]}"


def _authority(broker: Broker) -> Iterator[str]:
    try:
        ssl.create_default_context(cadata=broker.ca)
    except ssl.SSLError:
        yield (
            "broker.ca: no certificate can be read in it: write the text of a PEM file, from"
            " -----BEGIN CERTIFICATE----- on"
        )
    for name, url, scheme in (
        ("broker.url", broker.url, "amqps"),
        ("broker.management_url", broker.management_url, "https"),
    ):
        if url and not url.startswith(f"{scheme}://"):
            yield f"{name}={url}: broker.ca is for TLS: write {scheme}://, or leave broker.ca out"


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _stores(values: Values) -> Iterator[str]:
    for name, secret in {
        "broker.secret": values.broker.secret,
        "database.secret": values.database.secret,
    }.items():
        if not re.fullmatch(rf"{LABEL}(\.{LABEL})*", secret):
            yield f"{name}={secret!r}: it must be the name of a Secret"
    blobs = values.blobs
    if blobs.url:
        if "://" not in blobs.url or blobs.url.startswith("file:"):
            yield (
                f"blobs.url={blobs.url!r}: write the URL of an object store, such as"
                " s3://bucket/lumbre, or leave it out for a volume"
            )
        elif "@" in urlsplit(blobs.url).netloc:
            yield "blobs.url has a user in it: credentials belong into the Secret blobs.secret"
    elif blobs.access == "ReadWriteOnce" and _many_nodes(values):
        yield (
            "blobs.url is empty, and a volume that one node has (blobs.access: ReadWriteOnce)"
            " cannot be shared by pods of several: write blobs.url: s3://…, or blobs.access:"
            " ReadWriteMany with a storage class that can do it"
        )


def _many_nodes(values: Values) -> bool:
    """Whether somebody who writes such values has several nodes."""
    counts = (values.broker.nodes, values.gateway.max_replicas, values.recorder.replicas)
    return max(*counts, values.gateway.replicas) > 1


def _gateway(values: Values) -> Iterator[str]:
    gateway, route = values.gateway, values.gateway.route
    if 1 < gateway.max_replicas < gateway.replicas:
        yield (
            f"gateway.max_replicas={gateway.max_replicas} is less than gateway.replicas="
            f"{gateway.replicas}: write at least that, or leave it out for a fixed number"
        )
    if route.host and not HOST.fullmatch(route.host):
        yield f"gateway.route.host={route.host!r}: write a name of DNS in lower case, without a URL"
    if route.kind == "none":
        return
    if gateway.insecure:
        yield (
            f"gateway.insecure with gateway.route.kind: {route.kind}: whoever reaches it could run"
            " functions: write gateway.insecure: false, and make an API key (lumbre keys create)"
        )
    if not route.host:
        yield f"gateway.route.host is missing: gateway.route.kind: {route.kind} needs a name of DNS"
    if route.kind == "ingress" and route.gateway:
        yield "gateway.route.gateway is of an HTTPRoute: write kind: httproute, or leave it out"
    if route.kind == "httproute":
        yield from _httproute(values)


def _httproute(values: Values) -> Iterator[str]:
    route = values.gateway.route
    if not re.fullmatch(rf"({LABEL}/)?{LABEL}(\.{LABEL})*", route.gateway):
        yield (
            f"gateway.route.gateway={route.gateway!r}: kind: httproute needs the Gateway that it"
            " belongs to: NAME, or NAMESPACE/NAME"
        )
    for name in ("tls_secret", "ingress_class"):
        if getattr(route, name):
            yield f"gateway.route.{name} is of an Ingress: with kind: httproute the Gateway says it"


def _callbacks(values: Values) -> Iterator[str]:
    if values.callbacks.secret and not values.callbacks.hosts:
        yield "callbacks.secret signs what is sent to callbacks.hosts, of which there are none"
    try:
        Allowed.parse(",".join(values.callbacks.hosts))
    except ConfigurationError as error:
        yield f"callbacks.hosts: {error}"


def _settings(values: Values) -> Iterator[str]:
    rendered = settings(values.model_copy(update={"settings": {}}))
    taken = {name.removeprefix("LUMBRE_").lower() for name in rendered}
    for name, text in values.settings.items():
        field = Settings.model_fields.get(name)
        if field is None:
            yield f"settings.{name}: there is no such setting: see `lumbre settings`"
        elif SecretStr in (field.annotation, *get_args(field.annotation)):
            yield f"settings.{name} is secret: it belongs into a Secret, not into a ConfigMap"
        elif name in taken or name in OWN:
            yield f"settings.{name}: it follows from other values: leave it out"
        else:
            yield from _value(name, text, field.annotation, field.metadata)


def _value(name: str, text: str, annotation: Any, metadata: list[Any]) -> Iterator[str]:
    try:
        TypeAdapter(Annotated[(annotation, *metadata)] if metadata else annotation).validate_python(
            text
        )
    except ValidationError as error:
        yield f"settings.{name}={text!r}: {error.errors()[0]['msg']}"
