"""One request of a load test, and the bytes it goes over the wire as (HTTP/1.1, RFC 9112)."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson

JSON = "application/json"
BYTES = "application/octet-stream"
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".npy": "application/x-npy",
}  # by the suffix of a file's name
USER_AGENT = "lumbre-loadtest"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is sent for a bytes parameter."""

    name: str
    media_type: str
    data: bytes

    @classmethod
    def read(cls, path: Path) -> "Upload":
        """The file at a path; its media type is told by its suffix.  Raises OSError."""
        media_type = MEDIA_TYPES.get(path.suffix.lower(), BYTES)
        return cls(path.name, media_type, path.read_bytes())


@dataclass(frozen=True, slots=True)
class Request:
    """`POST` of one invocation.  The same request is encoded once, however often it is sent."""

    function: str
    device: str  # that is asked for: "auto", "cpu" or "gpu"
    target: str  # path and query
    content_type: str | None
    body: bytes
    wait: bool  # False: `Prefer: respond-async`; the answer is a 202
    _encoded: dict[tuple[str, str | None], bytes] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )  # by host and key

    def encode(self, host: str, key: str | None = None) -> bytes:
        """The whole request to a host (`127.0.0.1:8080`), for a connection that stays open.

        `key` is the API key that a node asks for.
        """
        encoded = self._encoded.get((host, key))
        if encoded is None:
            encoded = self._encoded[host, key] = self._head(host, key) + self.body
        return encoded

    def _head(self, host: str, key: str | None) -> bytes:
        lines = [
            f"POST {self.target} HTTP/1.1",
            f"Host: {host}",
            f"User-Agent: {USER_AGENT}",
            f"Content-Length: {len(self.body)}",
        ]
        if self.content_type is not None:
            lines.append(f"Content-Type: {self.content_type}")
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        if not self.wait:
            lines.append("Prefer: respond-async")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def of_parameters(
    function: str, device: str, parameters: dict[str, Any], *, wait: bool = True
) -> Request:
    """A request with its parameters as a JSON object."""
    body = orjson.dumps(parameters)
    return Request(function, device, target(function, device, {}), JSON, body, wait)


def of_body(
    function: str, device: str, parameters: dict[str, Any], body: Upload, *, wait: bool = True
) -> Request:
    """A request with its one bytes parameter as its body, and the others in the query."""
    where = target(function, device, parameters)
    return Request(function, device, where, body.media_type, body.data, wait)


def target(function: str, device: str, parameters: dict[str, Any]) -> str:
    """Path and query of an invocation; `auto` is what the node does when no device is said."""
    query = {name: text(value) for name, value in parameters.items()}
    if device != "auto":
        query["device"] = device
    path = f"/invoke/{quote(function, safe='')}"
    return f"{path}?{urlencode(query)}" if query else path


def text(value: Any) -> str:
    """A parameter as text, which the node reads as JSON where the function's schema takes that."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def of_form(
    function: str,
    device: str,
    parameters: dict[str, Any],
    files: dict[str, Upload],
    *,
    wait: bool = True,
) -> Request:
    """A request as multipart/form-data (RFC 7578): bytes parameters as files, the others as text.

    The boundary is made from what it separates, so that the same parts give the same bytes.
    """
    fields = [(name, text(value).encode()) for name, value in parameters.items()]
    boundary = _boundary([*(data for _, data in fields), *(f.data for f in files.values())])
    pieces: list[bytes] = []
    for name, data in fields:
        pieces += [_part(boundary, f'name="{_quoted(name)}"', None), data, b"\r\n"]
    for name, file in files.items():
        what = f'name="{_quoted(name)}"; filename="{_quoted(file.name)}"'
        pieces += [_part(boundary, what, file.media_type), file.data, b"\r\n"]
    body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
    kind = f"multipart/form-data; boundary={boundary}"
    return Request(function, device, target(function, device, {}), kind, body, wait)


def _part(boundary: str, what: str, media_type: str | None) -> bytes:
    kind = f"Content-Type: {media_type}\r\n" if media_type else ""
    return f"--{boundary}\r\nContent-Disposition: form-data; {what}\r\n{kind}\r\n".encode()


def _boundary(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def _quoted(name: str) -> str:
    """A name as a part's head has it; quotes and line ends as browsers write them (RFC 7578 §4.2,
    the HTML standard's multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
