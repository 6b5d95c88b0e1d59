"""What a pod's containers are given: variables and volumes, as the pod's spec asks for them.

ConfigMaps, Secrets, fields of the pod, emptyDir, claims (a folder that pods share) and projected
volumes are here; everything else is refused by name.
"""

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.cluster.api import Api, Object
from tests.cluster.sandbox import Mount
from tests.support import ROOT

IMAGE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}  # as an image says them
TOKEN_LIFE = 3600  # seconds
_REFERENCE = re.compile(r"\$\(([-._a-zA-Z0-9]+)\)")


class NotProvided(Exception):
    """Something that the pod asks for is not there, or not known here."""


class Provision:
    """Reads what one pod asks for, and puts its volumes into `folder`.

    All pods share this machine's network, so that "all addresses" can be only one of them:
    LUMBRE_HOST=0.0.0.0 becomes the pod's own address.
    """

    def __init__(self, api: Api, pod: Object, address: str, folder: Path, claims: Path) -> None:
        self._api, self._pod, self._address = api, pod, address
        self._folder, self._claims = folder, claims
        self._namespace: str = pod["metadata"]["namespace"]
        security = pod["spec"].get("securityContext", {})
        self.user: int = security.get("runAsUser", 0)

    # ── variables ─────────────────────────────────────────────────────────────────────────────

    def environment(self, container: Object) -> dict[str, str]:
        """All variables of a container; NotProvided where one's source is missing."""
        server = urlsplit(self._api.address)
        found = {
            **IMAGE,
            "HOSTNAME": self._pod["metadata"]["name"],
            "KUBERNETES_SERVICE_HOST": server.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(server.port or 443),
        }
        for source in container.get("envFrom", []):
            found |= self._all_of(source)
        for entry in container.get("env", []):
            value = self._value(entry)
            if value is not None:
                found[entry["name"]] = _REFERENCE.sub(
                    lambda match: found.get(match[1], match[0]), value
                )
        if found.get("LUMBRE_HOST") == "0.0.0.0":
            found["LUMBRE_HOST"] = self._address
        return found

    def _all_of(self, source: Object) -> dict[str, str]:
        prefix = source.get("prefix", "")
        if "configMapRef" in source:
            data = self._config(**source["configMapRef"])
        else:
            data = self._secret(**source["secretRef"])
        return {prefix + name: value for name, value in data.items()}

    def _value(self, entry: Object) -> str | None:
        source = entry.get("valueFrom")
        if source is None:
            return str(entry.get("value", ""))
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        for kind, read in (("configMapKeyRef", self._config), ("secretKeyRef", self._secret)):
            if kind in source:
                reference = dict(source[kind])
                key = reference.pop("key")
                data = read(**reference)
                if key not in data and not reference.get("optional"):
                    raise NotProvided(f"{reference['name']} has no key {key}")
                return data.get(key)
        raise NotProvided(f"a variable from {', '.join(source)}")

    def _config(self, name: str, optional: bool = False) -> dict[str, str]:
        return dict(self._read("configmaps", name, optional).get("data") or {})

    def _secret(self, name: str, optional: bool = False) -> dict[str, str]:
        data = self._read("secrets", name, optional).get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _read(self, kind: str, name: str, optional: bool) -> Object:
        found = self._api.get(f"/api/v1/namespaces/{self._namespace}/{kind}/{name}")
        if found is None and not optional:
            raise NotProvided(f"{kind.removesuffix('s')} {name} is not there")
        return found or {}

    def _field(self, path: str) -> str:
        keyed = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
        if keyed:
            return str(self._pod["metadata"].get(keyed[1], {}).get(keyed[2], ""))
        if path in ("status.podIP", "status.podIPs", "status.hostIP"):
            return self._address
        value: object = self._pod
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            raise NotProvided(f"a variable from the field {path}")
        return str(value)

    # ── volumes ───────────────────────────────────────────────────────────────────────────────

    def mounts(self, container: Object) -> list[Mount]:
        """A container's volumes, with their content in place."""
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes", [])}
        return [
            Mount(
                self._volume(volumes[mount["name"]]) / mount.get("subPath", ""),
                mount["mountPath"],
                mount.get("readOnly", False),
            )
            for mount in container.get("volumeMounts", [])
        ]

    def _volume(self, volume: Object) -> Path:
        kinds: dict[str, Callable[[Object], dict[str, str]]] = {
            "configMap": lambda source: self._config(source["name"]),
            "secret": lambda source: self._secret(source["secretName"]),
            "projected": self._projected,
        }
        for kind, read in kinds.items():
            if kind in volume:
                return self._files(self._folder / volume["name"], read(volume[kind]))
        if "emptyDir" in volume:
            return self._writable(self._folder / volume["name"])
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            return self._writable(self._claims / self._namespace / claim)
        raise NotProvided(f"the volume {volume['name']}: {', '.join(volume)}")

    def _projected(self, source: Object) -> dict[str, str]:
        files: dict[str, str] = {}
        for part in source["sources"]:
            if "serviceAccountToken" in part:
                files[part["serviceAccountToken"]["path"]] = self._token()
            elif "configMap" in part:
                data = self._config(part["configMap"]["name"])
                items = part["configMap"].get("items") or [{"key": k, "path": k} for k in data]
                files |= {item["path"]: data[item["key"]] for item in items}
            elif "downwardAPI" in part:
                items = part["downwardAPI"]["items"]
                files |= {i["path"]: self._field(i["fieldRef"]["fieldPath"]) for i in items}
            else:
                raise NotProvided(f"a projected volume of {', '.join(part)}")
        return files

    def _token(self) -> str:
        account = self._pod["spec"].get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        metadata = self._pod["metadata"]
        pod = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"expirationSeconds": TOKEN_LIFE, "boundObjectRef": pod}
        made = self._api.create(path, {"spec": spec})
        return str(made["status"]["token"])

    def _files(self, folder: Path, files: dict[str, str]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    def _writable(self, folder: Path) -> Path:
        """A folder that belongs to the pod's group, as fsGroup has it."""
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, self.user, self.user)
        folder.chmod(0o2775)
        return folder
