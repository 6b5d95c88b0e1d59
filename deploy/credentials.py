"""The Secrets that a deployment needs: made where the store is ours, and asked for elsewhere.

They are in no rendered file.  What is made is random, is never printed, and stays as it is as long
as the store's volume, whose data was set up with it.
"""

import secrets
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.cluster import Cluster
from autoscaler.identity import Identity, Object
from autoscaler.refusal import Denied
from deploy.database import DATABASE, PORT
from deploy.pod import host, labels, metadata
from deploy.values import Values
from runtime.errors import ConfigurationError

LENGTH = 32  # letters and digits, 190 bits: nothing that a URL or a shell would read otherwise
USER = "lumbre"

Made = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Credential:
    """A Secret by name, with its keys; `make` gives their values where they can be made."""

    name: str
    keys: tuple[str, ...]
    what: str
    component: str = ""
    make: Made | None = field(default=None, repr=False)


def credentials(values: Values) -> list[Credential]:
    """All that the pods of a deployment refer to."""
    return [*_broker(values), *_database(values), *_others(values)]


def missing(cluster: Cluster, values: Values) -> list[Credential]:
    """Those to be made.  Raises ConfigurationError that names the others, and how they are made."""
    lacking: list[Credential] = []
    faults: list[str] = []
    for credential in credentials(values):
        identity = Identity("v1", "Secret", credential.name, values.namespace)
        try:
            found = cluster.get(identity)
        except Denied:  # whoever may not read Secrets may have had them made
            continue
        keys = None if found is None else {*(found.get("data") or {})}
        if keys is None and credential.make:
            lacking.append(credential)
        elif keys is None or not keys.issuperset(credential.keys):
            faults.append(_fault(credential, keys, values.namespace))
    if faults:
        raise ConfigurationError("\n  ".join(faults))
    return lacking


def make(cluster: Cluster, values: Values, wanted: Sequence[Credential]) -> Iterator[str]:
    """Make Secrets, and give the name of each; one that is there meanwhile stays as it is."""
    for credential in wanted:
        assert credential.make is not None
        if cluster.create(_secret(credential, values)):
            yield credential.name


def random_password() -> str:
    """Letters and digits that nobody has had before."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(LENGTH))


def _broker(values: Values) -> Iterator[Credential]:
    kind, name = values.broker.kind, values.broker.secret
    if kind == "operator":  # which makes it itself
        return
    keys = ("username", "password")
    made = (lambda: {"username": USER, "password": random_password()}) if kind == "pod" else None
    yield Credential(name, keys, "RabbitMQ's user", "broker", made)


def _database(values: Values) -> Iterator[Credential]:
    name = values.database.secret
    if values.database.kind == "external":
        yield Credential(name, ("url",), "the ledger's URL, postgresql://USER:PASSWORD@HOST/NAME")
        return

    def made() -> Mapping[str, str]:
        password = random_password()
        at = f"{host(DATABASE, values)}:{PORT}"
        return {"password": password, "url": f"postgresql://{USER}:{password}@{at}/{USER}"}

    yield Credential(name, ("url", "password"), "the ledger's database", "database", made)


def _others(values: Values) -> Iterator[Credential]:
    if values.blobs.secret:
        yield Credential(values.blobs.secret, (), "the object store's keys, as variables of pods")
    if values.callbacks.secret:
        yield Credential(values.callbacks.secret, ("secret",), "what callbacks are signed with")
    for name in values.images.pull_secrets:
        yield Credential(name, (".dockerconfigjson",), "the images' registry")


def _fault(credential: Credential, keys: set[str] | None, namespace: str) -> str:
    if keys is None:
        state = f"there is no Secret {credential.name} in the namespace {namespace}"
    else:
        lost = ", ".join(sorted({*credential.keys} - keys))
        state = f"the Secret {credential.name} in the namespace {namespace} lacks {lost}"
    literals = " ".join(f"--from-literal={key}=…" for key in credential.keys or ("NAME",))
    how = f"kubectl -n {namespace} create secret generic {credential.name} {literals}"
    if credential.keys == (".dockerconfigjson",):
        how = f"kubectl -n {namespace} create secret docker-registry {credential.name} …"
    return f"{state} ({credential.what}): {how}"


def _secret(credential: Credential, values: Values) -> Object:
    assert credential.make is not None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(credential.name, values, labels(credential.component)),
        "type": "Opaque",
        "stringData": dict(credential.make()),
    }
