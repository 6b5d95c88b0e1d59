"""A small Kubernetes API server for tests: objects in memory, server-side apply, and faults.

It keeps who owns which field as server-side apply does (one leaf at a time; lists are leaves),
gives Deployments their default count, and has no controllers: tests write statuses themselves,
or have all be well at once (`healthy`).
"""

import base64
import copy
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]
Leaf = tuple[str, ...]

NAMESPACED = {
    "v1": ("Pod", "Service", "ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "batch/v1": ("Job",),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "policy/v1": ("PodDisruptionBudget",),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding"),
    "keda.sh/v1alpha1": ("ScaledObject", "ScaledJob", "TriggerAuthentication"),
}
WHOLE = {
    "v1": ("Namespace", "Node"),
    "scheduling.k8s.io/v1": ("PriorityClass",),
    "admissionregistration.k8s.io/v1": (
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ),
}
PLURALS = {
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "PriorityClass": "priorityclasses",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
}
DONE: dict[str, Object] = {  # statuses that controllers write once all is well
    "StatefulSet": {"observedGeneration": 10**6, "readyReplicas": 3},
    "Deployment": {
        "observedGeneration": 10**6,
        "replicas": 3,
        "updatedReplicas": 3,
        "availableReplicas": 3,
    },
    "Job": {"conditions": [{"type": "Complete", "status": "True"}]},
    "ScaledObject": {"conditions": [{"type": "Ready", "status": "True"}]},
    "ScaledJob": {"conditions": [{"type": "Ready", "status": "True"}]},
}
NAMES = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}


class ApiServer:
    """Serves on loopback while it is open; `url` is where.

    `kinds` may be changed, `denied` holds pairs (verb, plural) that get 403, `busy` is how many
    requests get 429 yet, `silent` makes it never answer, `finalized` names objects that stay when
    they are deleted.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}  # plural, namespace, name
        self.owners: dict[tuple[str, str, str], dict[Leaf, set[str]]] = {}
        self.kinds = {v: {k: True for k in kinds} for v, kinds in NAMESPACED.items()}
        for api_version, kinds in WHOLE.items():
            self.kinds.setdefault(api_version, {}).update(dict.fromkeys(kinds, False))
        self.kinds["v1"]["Event"] = True
        self.denied: set[tuple[str, str]] = set()
        self.finalized: set[str] = set()
        self.requests: list[tuple[str, str, dict[str, str]]] = []  # method, path, query
        self.extra: dict[str, Any] = {}  # answers by path
        self.busy = 0
        self.version = ("1", "33+")
        self.unauthorized = False
        self.healthy = False
        self._silent = threading.Event()
        self._version = 0
        self._lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lumbre"}})

    def __enter__(self) -> "ApiServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._silent.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def kubeconfig(self, folder: Path, **user: str) -> Path:
        """A kubeconfig file of this server, with the context `test`."""
        file = folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": user or {"token": "t"}}],
            "contexts": [{"name": "test", "context": {"cluster": "here", "user": "me"}}],
        }
        file.write_text(yaml.safe_dump(config))
        return file

    @contextmanager
    def silent(self) -> Iterator[None]:
        """While it is open, requests are taken and never answered."""
        self._silent.clear()
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False
            self._silent.set()

    _is_silent = False

    # ── what tests look at and change ─────────────────────────────────────────────────────────

    def add(self, wanted: Object, manager: str = "somebody") -> None:
        """Put an object there, as its owner `manager` would."""
        with self._lock:
            key = self._key(wanted)
            self.objects[key] = self._stamped(copy.deepcopy(wanted), None)
            self.owners[key] = {leaf: {manager} for leaf in leaves(wanted)}

    def copy_of(self, other: "ApiServer") -> None:
        """Have in it what another has."""
        with self._lock:
            self.objects = copy.deepcopy(other.objects)
            self.owners = copy.deepcopy(other.owners)
            self._version = other._version

    def get(self, plural: str, name: str, namespace: str = "lumbre") -> Object:
        """An object as it is; KeyError if it is not there."""
        return self.objects[plural, namespace, name]

    def secret(self, name: str) -> dict[str, str]:
        """What a Secret holds."""
        data = self.get("secrets", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def names(self, plural: str) -> list[str]:
        """The names of the objects of a plural."""
        return sorted(name for p, _, name in self.objects if p == plural)

    def set_status(self, plural: str, name: str, status: Object) -> None:
        """Write a status, as a controller would."""
        with self._lock:
            found = self.objects[plural, "lumbre", name]
            found["status"] = status
            self._stamp(found)

    def set_field(self, plural: str, name: str, leaf: Leaf, value: Any, manager: str) -> None:
        """Change a field, as `kubectl edit` or a scaler would: it becomes the manager's."""
        with self._lock:
            key = (plural, "lumbre", name)
            put(self.objects[key], leaf, value)
            self.owners[key][leaf] = {manager}
            self._stamp(self.objects[key])

    # ── requests ──────────────────────────────────────────────────────────────────────────────

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.requests.append((method, parts.path, query))
        if self._is_silent:
            self._silent.wait(30)
        with self._lock:
            if self.unauthorized:
                return status(401, "Unauthorized", "Unauthorized")
            if self.busy:
                self.busy -= 1
                return status(429, "TooManyRequests", "too many requests")
            if parts.path in self.extra:
                return 200, self.extra[parts.path]
            if parts.path == "/version":
                return 200, dict(zip(("major", "minor"), self.version, strict=True))
            return self._routed(method, parts.path.strip("/").split("/"), query, body)

    def _routed(
        self, method: str, path: list[str], query: dict[str, str], body: bytes
    ) -> tuple[int, Any]:
        start = 2 if path[0] == "api" else 3
        api_version, rest = "/".join(path[1:start]), path[start:]
        if api_version not in self.kinds or path[0] not in ("api", "apis"):
            return status(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            return 200, self._discovery(api_version)
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name = rest[0], rest[1] if len(rest) > 1 else ""
        if plural not in {plural_of(kind) for kind in self.kinds[api_version]}:
            return status(404, "NotFound", "the server could not find the requested resource")
        verb = {"PATCH": "patch", "POST": "create", "DELETE": "delete"}.get(method, "get")
        if (verb if name or verb != "get" else "list", plural) in self.denied:
            said = f'{plural} "{name}" is forbidden: User "me" cannot {verb} resource "{plural}"'
            return status(403, "Forbidden", said)
        if method == "GET" and not name:
            return 200, self._listed(plural, namespace, query)
        if method == "GET" or method == "DELETE":
            return self._found(method, (plural, namespace, name))
        if namespace and ("namespaces", "", namespace) not in self.objects:
            return status(404, "NotFound", f'namespaces "{namespace}" not found')
        wanted = json.loads(body)
        if method == "POST":
            self.add(
                with_data(wanted) | {"metadata": wanted["metadata"] | {"namespace": namespace}}
            )
            return 201, self.objects[plural, namespace, wanted["metadata"]["name"]]
        return self._applied((plural, namespace, name), wanted, query)

    def _discovery(self, api_version: str) -> Object:
        resources = [
            {"name": plural_of(kind), "kind": kind, "namespaced": namespaced}
            for kind, namespaced in self.kinds[api_version].items()
        ]
        scale = {"name": "deployments/scale", "kind": "Scale", "namespaced": True}
        return {"kind": "APIResourceList", "resources": [*resources, scale]}

    def _listed(self, plural: str, namespace: str, query: dict[str, str]) -> Object:
        wanted = dict(p.split("=") for p in query.get("labelSelector", "").split(",") if p)
        about = query.get("fieldSelector", "").removeprefix("involvedObject.name=")
        found = [
            each
            for (p, n, _), each in sorted(self.objects.items())
            if p == plural
            and namespace in ("", n)
            and wanted.items() <= (each["metadata"].get("labels") or {}).items()
            and about in ("", each.get("involvedObject", {}).get("name"))
        ]
        bare = [{k: v for k, v in e.items() if k not in ("apiVersion", "kind")} for e in found]
        return {"kind": "List", "items": bare}

    def _found(self, method: str, key: tuple[str, str, str]) -> tuple[int, Any]:
        if key not in self.objects:
            return status(404, "NotFound", f'{key[0]} "{key[2]}" not found')
        found = self.objects[key]
        if method == "DELETE":
            if key[2] in self.finalized:
                found["metadata"]["finalizers"] = ["finalizer.keda.sh"]
            else:
                del self.objects[key], self.owners[key]
        return 200, found

    def _applied(
        self, key: tuple[str, str, str], wanted: Object, query: dict[str, str]
    ) -> tuple[int, Any]:
        manager, forced = query["fieldManager"], query.get("force") == "true"
        before = self.objects.get(key)
        names = {"name": wanted["metadata"]["name"]} | ({"namespace": key[1]} if key[1] else {})
        named = {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": names}
        found = copy.deepcopy(before) if before else named
        owners = copy.deepcopy(self.owners.get(key, {}))
        said = leaves(wanted)
        conflicts = [
            (leaf, other)
            for leaf, value in said.items()
            for other in owners.get(leaf, set()) - {manager}
            if take(found, leaf) != value
        ]
        if conflicts and not forced:
            return conflict(conflicts)
        for leaf, value in said.items():
            if take(found, leaf) != value:
                owners[leaf] = set()  # others wanted it otherwise
                put(found, leaf, copy.deepcopy(value))
            owners.setdefault(leaf, set()).add(manager)
        for leaf in [each for each in owners if manager in owners[each] and each not in said]:
            owners[leaf].discard(manager)
            if not owners[leaf]:
                drop(found, leaf)
                del owners[leaf]
        found = self._stamped(found, before)
        if query.get("dryRun") != "All":
            if self.healthy and found["kind"] in DONE:
                found.setdefault("status", DONE[found["kind"]])
            self.objects[key], self.owners[key] = found, owners
        return (200 if before else 201), found

    def _key(self, wanted: Object) -> tuple[str, str, str]:
        metadata, kind = wanted["metadata"], wanted["kind"]
        namespaced = self.kinds[wanted["apiVersion"]][kind]
        namespace = metadata.get("namespace", "lumbre") if namespaced else ""
        return plural_of(kind), namespace, metadata["name"]

    def _stamped(self, found: Object, before: Object | None) -> Object:
        if found["kind"] == "Deployment":
            found.setdefault("spec", {}).setdefault("replicas", 1)  # Kubernetes' default
        if found != before:
            spec = found.get("spec") != (before or {}).get("spec")
            known = found["metadata"].get("generation", 0)
            found["metadata"]["generation"] = known + 1 if spec else known
            self._stamp(found)
        return found

    def _stamp(self, found: Object) -> None:
        self._version += 1
        found["metadata"]["resourceVersion"] = str(self._version)
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        found["metadata"].setdefault("creationTimestamp", made)


def plural_of(kind: str) -> str:
    """Kinds' plurals, in lower case."""
    return PLURALS.get(kind, f"{kind.lower()}s")


def leaves(found: Object, at: Leaf = ()) -> dict[Leaf, Any]:
    """The fields that an apply says, but for those that name the object."""
    said: dict[Leaf, Any] = {}
    for name, value in found.items():
        leaf = (*at, name)
        if leaf in NAMES:
            continue
        if isinstance(value, dict) and value:
            said |= leaves(value, leaf)
        else:
            said[leaf] = value
    return said


def take(found: Object, leaf: Leaf) -> Any:
    """A field of an object; None where it has none."""
    for name in leaf:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def put(found: Object, leaf: Leaf, value: Any) -> None:
    """Set a field of an object."""
    for name in leaf[:-1]:
        found = found.setdefault(name, {})
    found[leaf[-1]] = value


def drop(found: Object, leaf: Leaf) -> None:
    """Take a field away."""
    for name in leaf[:-1]:
        found = found[name]
    found.pop(leaf[-1], None)


def with_data(wanted: Object) -> Object:
    """A Secret as it is stored: with its texts in Base64."""
    texts = wanted.get("stringData") or {}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    kept = {name: value for name, value in wanted.items() if name != "stringData"}
    return kept | ({"data": data} if texts else {})


def conflict(conflicts: list[tuple[Leaf, str]]) -> tuple[int, Object]:
    """The Status of a conflict of server-side apply."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using apps/v1',
            "field": "." + ".".join(leaf),
        }
        for leaf, manager in conflicts
    ]
    code, said = status(409, "Conflict", f"Apply failed with {len(causes)} conflicts")
    return code, said | {"details": {"causes": causes}}


def status(code: int, reason: str, message: str) -> tuple[int, Object]:
    """A Status object, as every refusal has it."""
    said = {"kind": "Status", "status": "Failure", "reason": reason, "code": code}
    return code, said | {"message": message}


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is one packet: two would wait for each other's acknowledgement
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, told = server.answer(self.command, self.path, body)
            text = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            try:
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                self.close_connection = True  # the client has given up

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
