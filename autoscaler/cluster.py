"""A Kubernetes cluster: what it knows, what is in it, and objects applied to it and deleted.

Objects are dicts, as they stand in the YAML.  Every request has a time limit, and every answer that
is no success is an error of `autoscaler.refusal`.  Nothing else imports `kubernetes`.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import orjson

from autoscaler.identity import Identity, Object
from autoscaler.refusal import Absent, ClusterError, TryLater, Unreachable, refusal

MANAGER = "lumbre"  # the field manager of server-side apply
APPLY = "application/apply-patch+yaml"  # JSON is YAML, too
CONNECT, ANSWER = 5.0, 30.0  # seconds for a connection, and between two bytes of an answer
TRIES, PAUSE = 4, 2.0  # of requests that a busy server puts off; seconds between two
DEFAULT_FILE = "~/.kube/config"

Query = list[tuple[str, str]]


class Cluster:
    """A connection to a cluster; objects that name no namespace are in `namespace`.

    Use it in a `with`, or close it.  `server` is the API server's URL, `where` names it and the
    credentials in errors.
    """

    def __init__(self, api: Any, namespace: str, where: str, answer: float = ANSWER) -> None:
        from kubernetes.dynamic import DynamicClient

        dynamic: Any = DynamicClient  # it has no types
        self.namespace = namespace
        self.where = where
        self.server = str(api.configuration.host)
        self._api = api
        # Its own discovery keeps what it found in a file in /tmp, and asks without a time limit.
        discoverer: Any = lambda client, cache: None  # noqa: E731
        self._client = dynamic(api, discoverer=discoverer)
        self._timeout = (min(CONNECT, answer), answer)
        self._kinds: dict[str, dict[str, tuple[str, bool]]] = {}  # by API version

    def close(self) -> None:
        """Close the connections."""
        self._api.rest_client.pool_manager.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── what it knows ─────────────────────────────────────────────────────────────────────────

    def version(self) -> tuple[int, int]:
        """Kubernetes' version: (1, 33)."""
        told = self.read("/version")
        major, minor = (str(told.get(name, "0")).rstrip("+") for name in ("major", "minor"))
        return (int(major or 0), int(minor or 0))

    def knows(self, api_version: str, kind: str) -> bool:
        """Whether there are objects of the kind: whether its CRD is installed, say."""
        return kind in self._resources(api_version)

    def identify(self, found: Object) -> Identity:
        """What an object is called, with the namespace that it has or gets here."""
        api_version, kind, metadata = found["apiVersion"], found["kind"], found["metadata"]
        _, namespaced = self._resource(api_version, kind)
        namespace = metadata.get("namespace") or self.namespace if namespaced else ""
        return Identity(api_version, kind, metadata["name"], namespace)

    def forget_kinds(self) -> None:
        """Ask again which kinds there are: a CRD may have come."""
        self._kinds.clear()

    # ── what is in it ─────────────────────────────────────────────────────────────────────────

    def get(self, identity: Identity) -> Object | None:
        """The object as it is now, or None."""
        try:
            return self._json("get", "GET", self._path(identity), identity)
        except Absent:
            return None

    def all(self, api_version: str, kind: str, selector: str = "") -> list[Object]:
        """The objects of a kind that a label selector matches: of the namespace, if in any."""
        identity = Identity(api_version, kind, "", self.namespace)
        query = [("labelSelector", selector)] if selector else []
        told = self._json("list", "GET", self._path(identity), identity, query=query)
        own = {"apiVersion": api_version, "kind": kind}  # a list's items do not say it
        return [own | item for item in told.get("items") or []]

    def events(self, name: str = "") -> list[Object]:
        """What happened in the namespace, or to the objects of a name there; the latest last."""
        identity = Identity("v1", "Event", "", self.namespace)
        query = [("fieldSelector", f"involvedObject.name={name}")] if name else []
        told = self._json("list", "GET", self._path(identity), identity, query=query)
        return sorted(told.get("items") or [], key=moment)

    def read(self, path: str, query: Query | None = None) -> Object:
        """What the API server answers at a path: of an aggregated API, say."""
        return self._json("get", "GET", path, path, query=query)

    def logs(self, pod: str, lines: int) -> str:
        """The last lines that a pod wrote."""
        identity = Identity("v1", "Pod", pod, self.namespace)
        path, query = f"{self._path(identity)}/log", [("tailLines", str(lines))]
        return self._ask("get the log of", "GET", path, identity, query=query)

    # ── changing it ───────────────────────────────────────────────────────────────────────────

    def apply(
        self, wanted: Object, *, manager: str = MANAGER, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Apply an object (server-side apply, Kubernetes 1.22), and give what it became.

        Raises Owned where other managers' fields differ, unless `force` takes them; Refused for
        unknown fields.  A dry run passes admission, and nothing is stored.
        """
        identity = self.identify(wanted)
        query = [("fieldManager", manager), ("fieldValidation", "Strict")]
        query += [("force", "true")] if force else []
        query += [("dryRun", "All")] if dry_run else []
        path = self._path(identity)
        return self._json("patch", "PATCH", path, identity, wanted, query=query, content=APPLY)

    def create(self, wanted: Object) -> bool:
        """Make an object; False if there is one of its name, which stays as it is."""
        identity = self.identify(wanted)
        if self.get(identity) is not None:
            return False
        query = [("fieldManager", MANAGER)]
        beside = Identity(identity.api_version, identity.kind, "", identity.namespace)
        self._json("create", "POST", self._path(beside), identity, wanted, query=query)
        return True

    def delete(self, identity: Identity) -> None:
        """Have an object deleted, after what it has made; it may stay while that drains."""
        query = [("propagationPolicy", "Foreground")]
        try:
            self._ask("delete", "DELETE", self._path(identity), identity, query=query)
        except Absent:
            return  # somebody else was quicker

    # ── asking ────────────────────────────────────────────────────────────────────────────────

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        try:
            return self._resources(api_version)[kind]
        except KeyError:
            raise Absent(f"the cluster knows no {kind} of {api_version}") from None

    def _resources(self, api_version: str) -> dict[str, tuple[str, bool]]:
        """The plural of each kind of an API version, and whether it is in a namespace."""
        if api_version not in self._kinds:
            path = f"/api{'s' if '/' in api_version else ''}/{api_version}"
            try:
                told = self.read(path).get("resources") or []
            except Absent:
                told = []
            self._kinds[api_version] = {
                each["kind"]: (each["name"], bool(each["namespaced"]))
                for each in told
                if "/" not in each["name"]  # subresources
            }
        return self._kinds[api_version]

    def _path(self, identity: Identity) -> str:
        plural, namespaced = self._resource(identity.api_version, identity.kind)
        group = f"/api{'s' if '/' in identity.api_version else ''}/{identity.api_version}"
        within = f"/namespaces/{identity.namespace}" if namespaced and identity.namespace else ""
        return f"{group}{within}/{plural}" + (f"/{identity.name}" if identity.name else "")

    def _json(self, verb: str, method: str, path: str, what: Any, *body: Any, **how: Any) -> Object:
        text = self._ask(verb, method, path, what, *body, **how)
        try:
            told = orjson.loads(text)
        except orjson.JSONDecodeError:
            told = None
        if not isinstance(told, dict):
            raise Unreachable(f"{self.where} answers what no API server does: {text[:200]!r}")
        return told

    def _ask(
        self,
        verb: str,
        method: str,
        path: str,
        what: Identity | str,
        body: Object | None = None,
        *,
        query: Query | None = None,
        content: str = "application/json",
    ) -> str:
        full = f"{path}?{urlencode(query)}" if query else path
        named = self._named(what)
        for tries in range(1, TRIES + 1):
            try:
                return self._send(verb, method, full, named, body, content)
            except TryLater:
                if tries == TRIES:
                    raise
                time.sleep(PAUSE)
        raise AssertionError

    def _send(
        self, verb: str, method: str, path: str, what: str, body: Object | None, content: str
    ) -> str:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self._client.request(
                method,
                path,
                body,
                content_type=content,
                serialize=False,
                _request_timeout=self._timeout,
            )
            return str(answer.data.decode(errors="replace"))
        except ApiException as error:
            if not error.status:  # of TLS
                raise self._unreachable(str(error.reason)) from None
            raise refusal(error.status, _text(error.body), verb, what, self.where) from None
        except (HTTPError, OSError) as error:
            raise self._unreachable(_reason(error, self._timeout[1])) from None

    def _unreachable(self, why: str) -> Unreachable:
        last = why.strip().splitlines()[-1] if why.strip() else "no reason was given"
        hint = "its certificate is not one that the kubeconfig trusts" if "CERT" in last else ""
        return Unreachable(
            f"{self.where} cannot be reached: {last}; {hint or 'is it running, and is this the'}"
            f"{'' if hint else ' right context?'}"
        )

    def _named(self, what: Identity | str) -> str:
        """A resource as RBAC has it, with its name: deployments.apps matmul-gpu in lumbre."""
        if isinstance(what, str):
            return what
        plural, _ = self._resource(what.api_version, what.kind)
        group, slash, _ = what.api_version.partition("/")
        named = " ".join(filter(None, [f"{plural}.{group}" if slash else plural, what.name]))
        return f"{named} in namespace {what.namespace}" if what.namespace else named


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: 2500m is 2.5, 4Ki is 4096."""
    import kubernetes.utils

    parse: Any = kubernetes.utils.parse_quantity  # it has no types
    return float(parse(text))


def moment(event: Object) -> str:
    """When an event happened last (RFC 3339): old and new publishers say it in other fields."""
    series = event.get("series") or {}
    instants = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    made = event["metadata"].get("creationTimestamp")
    return str(next((each for each in (*instants, made) if each), ""))


def connect(
    namespace: str,
    context: str | None = None,
    kubeconfig: Path | None = None,
    answer: float = ANSWER,
) -> Cluster:
    """The cluster of a kubeconfig's context, or the one that this process is a pod of.

    The kubeconfig is `kubeconfig`, else the files of KUBECONFIG, else ~/.kube/config.  Nothing is
    asked yet.  `answer` is the seconds that a request may take.  Raises ClusterError.
    """
    from kubernetes import client

    configuration = client.Configuration()
    where = _configure(configuration, context, kubeconfig)
    configuration.retries = False  # ours are those that are safe, and told
    return Cluster(client.ApiClient(configuration), namespace, where, answer)


def _configure(configuration: Any, context: str | None, kubeconfig: Path | None) -> str:
    import kubernetes

    config: Any = kubernetes.config  # it has no types
    if file := _kubeconfig(kubeconfig):
        with _reading(file):
            contexts, current = config.list_kube_config_contexts(config_file=file)
            named = [each["name"] for each in contexts]
            if context and context not in named:
                raise ClusterError(f"{file} has no context {context!r}: {', '.join(named)}")
            config.load_kube_config(
                config_file=file,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
        return f"the cluster at {configuration.host} (context {context or current['name']})"
    if context or not os.environ.get("KUBERNETES_SERVICE_HOST"):
        raise ClusterError(
            f"there is no kubeconfig: neither KUBECONFIG nor {DEFAULT_FILE} names a file that is"
            " there; give one with --kubeconfig FILE"
        )
    with _reading("this pod's service account"):
        config.load_incluster_config(client_configuration=configuration)
    return f"the cluster at {configuration.host} (this pod's service account)"


def _kubeconfig(chosen: Path | None) -> str | None:
    """The file, or files separated as in PATH; None where there are none."""
    if chosen is not None:
        if not chosen.is_file():
            raise ClusterError(f"--kubeconfig {chosen}: there is no such file")
        return str(chosen)
    known = os.environ.get("KUBECONFIG") or DEFAULT_FILE
    there = any(Path(each).expanduser().is_file() for each in known.split(os.pathsep) if each)
    return known if there else None


@contextmanager
def _reading(file: str) -> Iterator[None]:
    """Tell what is wrong with a kubeconfig, whatever its reader trips over."""
    import yaml
    from kubernetes.config import ConfigException

    try:
        yield
    except (ConfigException, yaml.YAMLError, OSError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ClusterError(f"{file} cannot be used: {why}") from None
    except (KeyError, TypeError, AttributeError) as error:  # lists where it expects mappings, say
        raise ClusterError(f"{file} cannot be used, since it is no kubeconfig: {error}") from None


def _text(body: Any) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")


def _reason(error: Exception, answer: float) -> str:
    from urllib3.exceptions import NewConnectionError, ReadTimeoutError

    if isinstance(error, ReadTimeoutError):
        return f"it has not answered for {answer:g} s"
    return str(error).rpartition(": ")[2] if isinstance(error, NewConnectionError) else str(error)
