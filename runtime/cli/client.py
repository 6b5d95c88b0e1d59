"""Talk to a node over HTTP: what the commands of `lumbre` have in common.

A `Client` gives parsed answers and raises what it cannot give; it prints nothing.  Whatever waits
for an invocation knows its id beforehand, so that it can be asked for again after a broken line.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import quote, urlsplit

import httpx
import orjson

from runtime.errors import LumbreError
from runtime.model import JSON

WAIT = 60  # seconds one request waits for an outcome; after that it is asked for again
TIMEOUT = 30.0  # seconds without a byte before a node counts as gone, beyond what it was to wait
PROBLEM = "application/problem+json"
EVENTS = "text/event-stream"
NDJSON = "application/x-ndjson"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Event = tuple[str, dict[str, Any]]  # name and data


class NoNode(LumbreError):
    """No node answers, or what answers is none."""

    title = "No node"


class Lost(NoNode):
    """A node that had answered does so no more; what it had accepted is in its ledger."""


class Refused(LumbreError):
    """The node answered with a problem (RFC 9457): a refusal, or how an invocation failed."""

    def __init__(self, problem: dict[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or "no reason was given")
        self.problem = problem
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said of an invocation: its result, or (not `finished`) its record so far."""

    finished: bool
    media_type: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def is_json(self) -> bool:
        return self.media_type == JSON or self.media_type.endswith("+json")


@dataclass(frozen=True, slots=True)
class Input:
    """A function's input as given on a command line: parameters, and what is to be uploaded."""

    parameters: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes | Path] = field(default_factory=dict)


class Client:
    """A connection to the node at a URL, with an API key where it asks for one.

    Use it in a `with`.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._reached = False
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
            # A proxy that the environment names is for other machines than this one.
            self._http = httpx.Client(
                base_url=self.url,
                timeout=TIMEOUT,
                trust_env=parts.hostname not in LOOPBACK,
                headers={"Authorization": f"Bearer {key}"} if key else None,
            )
        except (ValueError, httpx.InvalidURL):
            raise NoNode(f"{url!r} is no URL of a node: write http://HOST:PORT") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    # ── asking ────────────────────────────────────────────────────────────────────────────────

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path; NoNode or Refused where there is none."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._json(self._send("GET", path, params=given or None))

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The pages of a list, following `next`."""
        page = self.get(path, **query)
        while True:
            yield page
            if not page["next"]:
                return
            page = self.get(page["next"])

    def record(self, invocation: str) -> Any:
        """All that the node knows of an invocation."""
        return self.get(_path(invocation))

    def logs(self, invocation: str) -> str:
        """What an invocation has written to standard output and error so far."""
        return self._send("GET", f"{_path(invocation)}/logs").text

    def repair(self) -> Any:
        """Audit, and put what is lost into its queue once more; what was found."""
        return self._json(self._send("POST", "/audit/repair"))

    def cancel(self, id: str) -> Any:
        """Cancel an invocation or a batch; its record."""
        try:
            return self._json(self._send("DELETE", _path(id)))
        except Refused as refused:
            if refused.problem.get("status") != 404:
                raise
            try:
                return self._json(self._send("DELETE", f"/batches/{quote(id, safe='')}"))
            except Refused as again:
                raise (refused if again.problem.get("status") == 404 else again) from None

    # ── running ───────────────────────────────────────────────────────────────────────────────

    def submit(self, id: str, function: str, given: Input, device: str) -> str:
        """Queue a run of a function under an id of ours, and give that id."""
        return _accepted(partial(self._create, id, function, given, device, "respond-async"))

    def replay(self, invocation: str) -> str:
        """Queue an invocation's input once more; the id of the new invocation."""
        path = f"{_path(invocation)}/replay"
        return _accepted(partial(self._send, "POST", path, prefer="respond-async"))

    def invoke(
        self, id: str, function: str, given: Input, device: str, wait: float | None
    ) -> Answer:
        """Run a function under an id of ours, and wait up to `wait` seconds; None is for ever.

        Refused where it is not accepted or does not succeed.
        """
        return self._finish(partial(self._create, id, function, given, device), id, wait)

    def compare(self, key: str, function: str, given: Input, wait: float | None) -> Answer:
        """Run a function on both devices under an idempotency key, waiting as `invoke` does.

        What it gives is JSON: how they compare, or the records of both where it is not finished.
        """
        path = f"/invoke/{quote(function, safe='')}"
        deadline = None if wait is None else time.monotonic() + wait
        while True:
            prefer = _preference(deadline)
            with _body(given) as body:
                query = {"device": "compare"}
                sent = self._send("POST", path, prefer=prefer, key=key, params=query, **body)
            answer = _answer(sent)
            if answer.finished or (deadline is not None and time.monotonic() >= deadline):
                return answer

    def outcome(self, invocation: str, wait: float | None) -> Answer:
        """The result of an invocation, waiting for it as `invoke` does."""
        return self._finish(partial(self._ask_result, invocation), invocation, wait)

    def _create(
        self, id: str, function: str, given: Input, device: str, prefer: str
    ) -> httpx.Response:
        with _body(given) as body:
            return self._send(
                "PUT", _path(id), prefer=prefer, params=_query(function, device), **body
            )

    def _finish(self, ask: Callable[[str], httpx.Response], id: str, wait: float | None) -> Answer:
        deadline = None if wait is None else time.monotonic() + wait
        answer = _answer(ask(_preference(deadline)))
        while not answer.finished and (deadline is None or time.monotonic() < deadline):
            answer = _answer(self._ask_result(id, _preference(deadline)))
        return answer

    def _ask_result(self, id: str, prefer: str) -> httpx.Response:
        return self._send("GET", f"{_path(id)}/result", prefer=prefer)

    # ── many at once ──────────────────────────────────────────────────────────────────────────

    def send_lines(
        self, path: str, pieces: Iterable[bytes], key: str | None, **query: str
    ) -> dict[str, Any]:
        """POST lines of JSON as they come; what the node made of them."""
        headers = {"Content-Type": NDJSON} | ({"Idempotency-Key": key} if key else {})
        with self._reaching():
            answer = self._http.post(path, params=query, headers=headers, content=pieces)
        self._check(answer)
        view: dict[str, Any] = self._json(answer)
        return view

    def lines(self, path: str, **query: Any) -> Iterator[bytes]:
        """The lines at a path as they come, each with its newline; Lost where they break off."""
        given = {name: value for name, value in query.items() if value is not None}
        # Nothing is sent while nothing happens, and that may take long.
        patience = httpx.Timeout(TIMEOUT, read=None)
        with (
            self._reaching(),
            self._http.stream("GET", path, params=given, timeout=patience) as response,
        ):
            if response.status_code >= 400:
                response.read()
            self._check(response)
            rest = b""
            for piece in response.iter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield line + b"\n"

    # ── dead letters ──────────────────────────────────────────────────────────────────────────

    def replay_letter(
        self, id: str, function: str, parameters: dict[str, Any] | None, device: str | None
    ) -> str:
        """Queue a dead letter once more, with other parameters if given; the new invocation."""
        path = f"/dead-letters/{quote(id, safe='')}/replay"
        query = {"function": function} | ({"device": device} if device else {})
        send = partial(self._send, "POST", path, params=query)
        return _accepted(send if parameters is None else partial(send, json=parameters))

    def clear_letters(
        self, what: str, order: dict[str, Any], device: str | None
    ) -> Iterator[dict[str, Any]]:
        """`replay` or `discard` many dead letters; what becomes of each as it does, then a sum."""
        query = {"device": device} if device else None
        patience = httpx.Timeout(TIMEOUT, read=None)  # a full queue may have to get shorter first
        with (
            self._reaching(),
            self._http.stream(
                "POST", f"/dead-letters/{what}", params=query, json=order, timeout=patience
            ) as response,
        ):
            if response.status_code >= 400:
                response.read()
            self._check(response)
            yield from map(orjson.loads, response.iter_lines())

    # ── following ─────────────────────────────────────────────────────────────────────────────

    def invoke_events(self, id: str, function: str, given: Input, device: str) -> Iterator[Event]:
        """Run a function under an id of ours; its events from the first to the terminal one."""
        with _body(given) as body:
            query = _query(function, device)
            yield from self._events("PUT", _path(id), params=query, **body)

    def events(self, invocation: str) -> Iterator[Event]:
        """The events of an invocation, so far and as they come."""
        yield from self._events("GET", f"{_path(invocation)}/events")

    def _events(self, method: str, path: str, **more: Any) -> Iterator[Event]:
        headers = {"Accept": EVENTS}
        with (
            self._reaching(),
            self._http.stream(method, path, headers=headers, **more) as response,
        ):
            if response.status_code >= 400:
                response.read()
            self._check(response)
            yield from parse_events(response.iter_lines())

    # ── the wire ──────────────────────────────────────────────────────────────────────────────

    def _send(
        self,
        method: str,
        path: str,
        *,
        prefer: str | None = None,
        key: str | None = None,
        **more: Any,
    ) -> httpx.Response:
        headers = {"Prefer": prefer} if prefer else {}
        if key:
            headers["Idempotency-Key"] = key
        with self._reaching():
            response = self._http.request(
                method, path, headers=headers, timeout=TIMEOUT + WAIT, **more
            )
        self._check(response)
        return response

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            if not self._reached and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                text = f"no lumbre answers at {self.url}: start one with `lumbre up`"
                raise NoNode(text) from error
            why = str(error) or type(error).__name__
            raise Lost(f"the node at {self.url} stopped answering ({why})") from error

    def _check(self, response: httpx.Response) -> None:
        self._reached = True
        if response.status_code < 400:
            return
        if _media_type(response) != PROBLEM:
            raise self._foreign(response)
        raise Refused(orjson.loads(response.content), response.headers)

    def _json(self, response: httpx.Response) -> Any:
        if _media_type(response) != JSON:
            raise self._foreign(response)
        return orjson.loads(response.content)

    def _foreign(self, response: httpx.Response) -> NoNode:
        said = f"{response.status_code} {_media_type(response)}".strip()
        return NoNode(
            f"what answers at {self.url} is no lumbre (it said {said}): choose another --url,"
            " or start a node with `lumbre up --port PORT`"
        )


def read_input(arguments: Sequence[str], stdin: BinaryIO) -> Input:
    """Read `key=value`, `key=@file` and `@file` as a function's input; later ones win.

    A value is JSON if it parses, else a string.  `-` names standard input.  ValueError tells which
    argument is wrong, and how to write it.
    """
    given = Input()
    for argument in arguments:
        if argument.startswith("@"):
            given.parameters.update(_object(argument, stdin))
            continue
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise ValueError(f"{argument!r} is no key=value: write name=value, as in n=1024")
        if value.startswith("@"):
            given.files[name] = _file(name, value[1:], stdin)
        else:
            given.parameters[name] = _value(value)
    return given


def parse_events(lines: Iterable[str]) -> Iterator[Event]:
    """Server-sent events whose data is a JSON object; comments are left out."""
    name, data = "message", ""
    for line in lines:
        if not line:
            if data:
                yield name, orjson.loads(data)
            name, data = "message", ""
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()


def parse_server_timing(header: str) -> dict[str, float]:
    """Seconds by phase, in order, from a Server-Timing header."""
    return {
        name.strip(): float(milliseconds) / 1e3
        for name, milliseconds in re.findall(r"([^,;]+);dur=([0-9.]+)", header)
    }


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _object(argument: str, stdin: BinaryIO) -> dict[str, Any]:
    try:
        text = stdin.read() if argument == "@-" else Path(argument[1:]).read_bytes()
        value = orjson.loads(text)
    except OSError as error:
        raise ValueError(f"{argument}: the file cannot be read ({error.strerror})") from None
    except orjson.JSONDecodeError as error:
        raise ValueError(
            f"{argument} is no JSON ({error}): to upload a file, write NAME={argument}"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(f'{argument} must hold a JSON object of parameters, such as {{"n": 512}}')
    return value


def _file(name: str, path: str, stdin: BinaryIO) -> bytes | Path:
    if path == "-":
        return stdin.read()
    if not path:
        raise ValueError(f"{name}=@ names no file: write {name}=@FILE")
    try:
        with open(path, "rb"):
            return Path(path)
    except OSError as error:
        raise ValueError(f"{name}=@{path}: the file cannot be read ({error.strerror})") from None


@contextmanager
def _body(given: Input) -> Iterator[dict[str, Any]]:
    """What a request carries: JSON, or a form where there are files, which are read as it goes."""
    if not given.files:
        yield {"json": given.parameters}
        return
    texts = {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in given.parameters.items()
    }
    with ExitStack() as stack:
        files = {
            name: (source.name, stack.enter_context(source.open("rb")))
            if isinstance(source, Path)
            else (name, source)
            for name, source in given.files.items()
        }
        yield {"data": texts, "files": files}


def _accepted(send: Callable[[], httpx.Response]) -> str:
    """The id of what was accepted, even if it has ended so soon that the answer is how."""
    try:
        headers: Mapping[str, str] = send().headers
    except Refused as refused:
        if "Invocation-Attempt" not in refused.headers:
            raise
        headers = refused.headers
    return headers["Invocation-Id"]


def _answer(response: httpx.Response) -> Answer:
    finished = response.status_code != 202
    return Answer(finished, _media_type(response), response.content, response.headers)


def _preference(deadline: float | None) -> str:
    """How long the node shall hold the answer back (RFC 7240); it takes whole seconds."""
    left = WAIT if deadline is None else min(WAIT, deadline - time.monotonic())
    return f"wait={math.ceil(left)}" if left > 0 else "respond-async"


def _query(function: str, device: str) -> dict[str, str]:
    return {"function": function, "device": device}


def _path(invocation: str) -> str:
    return f"/invocations/{quote(invocation, safe='')}"


def _media_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("Content-Type", "")
    return content_type.partition(";")[0].strip()
