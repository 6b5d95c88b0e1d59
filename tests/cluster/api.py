"""The Kubernetes API for tests: objects are the dicts that stand in YAML, and 404 is None."""

import json
from typing import Any
from urllib.parse import urlencode

from kubernetes import config
from urllib3.exceptions import HTTPError

Object = dict[str, Any]

MERGE = "application/merge-patch+json"  # RFC 7396
STRATEGIC = "application/strategic-merge-patch+json"
TIMEOUT = 30.0  # seconds, one request


class Refused(Exception):
    """The API server answered with an error, or (status 0) did not; says what it wrote."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """One cluster, as the file KUBECONFIG names knows it. Threads may share it."""

    def __init__(self, kubeconfig: str) -> None:
        connect: Any = config.new_client_from_config  # it has no types
        self._client = connect(kubeconfig, persist_config=False)
        self.address: str = self._client.configuration.host  # https://HOST[:PORT]

    def get(self, path: str, **query: str) -> Object | None:
        """One object, or a list of them as it comes; None where there is nothing."""
        try:
            return self._ask("GET", path, None, query)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> list[Object]:
        """The objects of a list; none where there is no such kind."""
        return list((self.get(path, **query) or {}).get("items", []))

    def create(self, path: str, body: Object) -> Object:
        return self._ask("POST", path, body, {})

    def patch(self, path: str, body: Object, kind: str = MERGE) -> Object:
        return self._ask("PATCH", path, body, {}, kind)

    def delete(self, path: str, body: Object | None = None) -> None:
        """Ask for its end, as `body` (DeleteOptions) says; fine where it is gone already."""
        try:
            self._ask("DELETE", path, body or {"propagationPolicy": "Background"}, {})
        except Refused as refused:
            if refused.status != 404:
                raise

    def _ask(
        self,
        method: str,
        path: str,
        body: Object | None,
        query: dict[str, str],
        kind: str = "application/json",
    ) -> Object:
        request = self._client.param_serialize(
            method,
            f"{path}?{urlencode(query)}" if query else path,
            header_params={"Accept": "application/json", "Content-Type": kind},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(*request, _request_timeout=TIMEOUT)
        except HTTPError as error:
            raise Refused(0, f"{self.address} does not answer: {error}") from None
        if answer.status >= 400:
            raise Refused(answer.status, answer.read().decode(errors="replace"))
        return dict(json.loads(answer.read()))
