"""One command's exchange with a node: where it is, what to say when it refuses, what to show.

Results go to standard output and everything said about them to standard error, so that a result
can be piped on.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.console import RenderableType
from rich.text import Text

from runtime.cli import terminal
from runtime.cli.client import Answer, Client, Event, Lost, Refused, parse_server_timing
from runtime.cli.flags import FAILED
from runtime.cli.following import Following
from runtime.errors import ConfigurationError
from runtime.model import Status
from runtime.settings import api_key, read_settings

UNFINISHED, INTERRUPTED = 3, 130  # exit codes
COLOUR_LIMIT = 100_000  # bytes of JSON that are indented and coloured; more is shown as it came
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # where one can be asked


def node_url() -> str:
    """The URL of the node that this machine's settings describe."""
    settings = read_settings()
    if not settings.port:
        raise ConfigurationError("LUMBRE_PORT=0 is any free port: say which with --url")
    host = EVERYWHERE.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


@contextmanager
def asking(url: str | None, json: bool) -> Iterator[Client]:
    """A client of the node; a refusal is shown, and ends the command with exit code 1."""
    with Client(url or node_url(), api_key()) as client:
        try:
            yield client
        except Refused as refused:
            show_problem(refused, json)
            raise typer.Exit(FAILED) from None


@contextmanager
def going_on(id: str) -> Iterator[None]:
    """Say what becomes of an invocation when its caller stops waiting, or loses the node."""
    try:
        yield
    except KeyboardInterrupt:
        note(
            f"invocation {id} goes on: `lumbre cancel {id}` stops it,"
            f" `lumbre result {id}` asks for its outcome"
        )
        raise typer.Exit(INTERRUPTED) from None
    except Lost as error:
        raise Lost(f"{error}; when it is up again, ask with `lumbre result {id}`") from error


# ── showing ───────────────────────────────────────────────────────────────────────────────────


def note(text: str) -> None:
    """Say something beside the result."""
    typer.echo(text, err=True)


def show(what: RenderableType) -> None:
    """Print on standard output."""
    terminal.console().print(what)


def show_line(line: Text) -> None:
    """Print one line on standard output, however long it is."""
    terminal.console().print(line, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    typer.echo(orjson.dumps(value))


def show_problem(refused: Refused, json: bool) -> None:
    """Show why a request, or the invocation it asked about, has no result."""
    if json:
        print_json(refused.problem)
        return
    terminal.console(error=True).print(terminal.problem(refused.problem))
    if (id := refused.headers.get("Invocation-Id")) and "Invocation-Attempt" in refused.headers:
        _, _, status = refused.problem["type"].partition(":")
        note(f"{_summary(status, refused.headers)} · `lumbre logs {id}` has its output")


def show_queued(view: dict[str, Any], json: bool) -> None:
    """Show the id of what nobody waits for, or its record."""
    if json:
        print_json(view)
        return
    typer.echo(view["id"])
    note(f"{view['status']}: `lumbre result {view['id']} --wait 60` waits for its outcome")


def show_answer(answer: Answer, output: Path | None, json: bool) -> None:
    """Show a result and where its time went, or that there is none yet (exit code 3)."""
    if not answer.finished:
        _show_unfinished(orjson.loads(answer.body), json)
        raise typer.Exit(UNFINISHED)
    if not json:
        note(f"{_summary(Status.SUCCEEDED, answer.headers)} · {answer.headers['Invocation-Id']}")
    _show_result(answer, output, json)


def show_events(events: Iterable[Event], name: str, json: bool) -> str:
    """Show an invocation's events as they come, and give the last one's name.

    As JSON they are lines of standard output.
    """
    event = ""
    if json:
        for event, data in events:
            print_json({"event": event, "data": data})
        return event
    following = Following(terminal.console(error=True), name)
    with following.shown():
        for event, data in events:
            following.show(event, data)
    return event


def follow_logs(node: Client, id: str, json: bool) -> None:
    """Print an invocation's output as it comes, until it is over."""
    wrote = False
    for event, data in node.events(id):
        if event == "log":
            wrote = True
            if json:
                print_json({"id": id, "text": data["text"]})
            else:
                typer.echo(data["text"], nl=False)
    if not wrote and (text := node.logs(id)):  # it was over before we came
        if json:
            print_json({"id": id, "text": text})
        else:
            typer.echo(text, nl=False)


def _show_unfinished(view: dict[str, Any], json: bool) -> None:
    if json:
        print_json(view)
    else:
        note(f"{view['status']} still: `lumbre result {view['id']}` asks again")


def _summary(status: str, headers: Any) -> str:
    """What became of an invocation, where, and how long each part of it took."""
    timings = parse_server_timing(headers.get("Server-Timing", ""))
    parts = [
        f"{status} on {headers['Invocation-Device']}",
        f"attempt {headers['Invocation-Attempt']}",
        terminal.timing(timings) if timings else "",
    ]
    return " · ".join(filter(None, parts))


def _show_result(answer: Answer, output: Path | None, json: bool) -> None:
    if output is not None and str(output) != "-":
        _keep(answer, output)
        return
    if answer.is_json and not json and len(answer.body) <= COLOUR_LIMIT:
        terminal.console().print_json(answer.body.decode())
        return
    is_text = answer.is_json or answer.media_type.startswith("text/")
    if not is_text and output is None and sys.stdout.isatty():
        id = answer.headers["Invocation-Id"]
        note(
            f"the result is {len(answer.body):,} bytes of {answer.media_type}, which a terminal"
            f" cannot show: `lumbre result {id} --output FILE` keeps it"
        )
        raise typer.Exit(FAILED)
    typer.echo(answer.body, nl=is_text and answer.body != b"")


def _keep(answer: Answer, file: Path) -> None:
    try:
        file.write_bytes(answer.body)
    except OSError as error:
        id = answer.headers["Invocation-Id"]
        raise ConfigurationError(
            f"{file} cannot be written ({error.strerror}); the result is kept:"
            f" `lumbre result {id} --output FILE`"
        ) from None
