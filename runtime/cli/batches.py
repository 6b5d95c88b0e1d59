"""The commands of `lumbre` about batches: send many inputs as one, and read what became of them.

Results are lines of JSON on standard output, so that they can be piped on; what is said about them
goes to standard error.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO
from urllib.parse import quote

import orjson
import typer

from runtime.cli.flags import FAILED, Function, Json, Output, Url, check_output

if TYPE_CHECKING:
    from runtime.cli.client import Client

PIECE = 64 * 1024  # bytes that are sent at once

BatchId = Annotated[str, typer.Argument(metavar="ID", help="A batch's id.", show_default=False)]


def batch(
    function: Function,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Inputs, a JSON object a line; - is standard input."),
    ] = "-",
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu or gpu.")] = "auto",
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Sent again with it, it is the same batch.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Print the results as they come, until all are there.")
    ] = False,
    output: Output = None,
    json: Json = False,
    url: Url = None,
) -> None:
    """Run a function for every line of a file, as one batch.

    It is accepted as a whole or not at all. Without --wait or -o it prints the batch's id; with
    them the results come, a line of JSON each, and exit 1 says that not all succeeded.

    \b
    Examples:
      lumbre batch matmul inputs.ndjson
      lumbre batch matmul inputs.ndjson --device gpu -o results.ndjson
      seq 1000 | jq -c '{n: .}' | lumbre batch matmul - --wait | jq .result
    """
    from runtime.cli import session

    check_output(output)
    given = {"function": function, "device": device}
    with session.asking(url, json) as node:
        with _opened(file) as source:
            view = node.send_lines("/batches", _pieces(source), key, **given)
        if wait or output is not None:
            _show_results(node, view, output, {})
            return
    if json:
        session.print_json(view)
        return
    typer.echo(view["id"])
    session.note(f"{view['total']:,} items accepted: `lumbre results {view['id']}` has the results")


def batches(
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Of this one only.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at once.")] = 20,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show how far batches are, newest first.

    \b
    Examples:
      lumbre batches
      lumbre batches ID
    """
    from runtime.cli import session, terminal

    with session.asking(url, json) as node:
        found = node.get(_path(id)) if id else node.get("/batches", limit=limit)
    if json:
        session.print_json(found)
    elif id:
        session.show(terminal.batch(found))
    else:
        session.show(terminal.batches(found["items"]))
        if found["next"]:
            session.note("there are more: --limit N shows more at once")
        elif not found["items"]:
            session.note("no batches")


def results(
    id: BatchId,
    now: Annotated[
        bool,
        typer.Option("--now", help="Those that are there, without waiting; exit 3 if not all."),
    ] = False,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="In the order of the inputs, not as they come.")
    ] = False,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="INDEX", help="Those beyond this index only.")
    ] = None,
    output: Output = None,
    json: Json = False,
    url: Url = None,
) -> None:
    """Print the results of a batch as they come, a line of JSON each; exit 1 if any failed.

    \b
    Examples:
      lumbre results ID
      lumbre results ID --now --in-order -o results.ndjson
      lumbre results ID | jq 'select(.status != "succeeded")'
    """
    from runtime.cli import session

    check_output(output)
    query = {"wait": 0 if now else 1, "order": "index" if in_order else None, "after": after}
    with session.asking(url, json) as node:
        _show_results(node, node.get(_path(id)), output, query)


def _show_results(
    node: "Client", view: dict[str, Any], output: Path | None, query: dict[str, Any]
) -> None:
    """Write a batch's results as they come, then say how they ended and exit accordingly."""
    from runtime.cli import session, terminal
    from runtime.cli.following import counting

    ends: Counter[str] = Counter()
    lines = node.lines(f"{_path(view['id'])}/results", **query)
    console = terminal.console(error=True)
    with _going_on(view["id"]), _written(output) as target, counting(console, view) as count:
        for line in lines:
            target.write(line)
            target.flush()
            ends[orjson.loads(line)["status"]] += 1
            count(ends)
    session.note(", ".join(f"{n:,} {status}" for status, n in sorted(ends.items())) or "none yet")
    if ends.keys() - {"succeeded"}:
        raise typer.Exit(FAILED)
    if query.get("wait") == 0 and not view["finished"]:
        raise typer.Exit(session.UNFINISHED)


@contextmanager
def _going_on(id: str) -> Iterator[None]:
    """Say what becomes of a batch when its reader stops, or loses the node."""
    from runtime.cli import session
    from runtime.cli.client import Lost

    try:
        yield
    except KeyboardInterrupt:
        session.note(
            f"batch {id} goes on: `lumbre results {id}` reads on, `lumbre cancel {id}` stops it"
        )
        raise typer.Exit(session.INTERRUPTED) from None
    except Lost as error:
        raise Lost(f"{error}; when it is up again, ask with `lumbre results {id}`") from error


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = open(file, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        text = f"{file} cannot be read ({error.strerror})"
        raise typer.BadParameter(text, param_hint="FILE") from None
    with source:
        yield source


@contextmanager
def _written(output: Path | None) -> Iterator[BinaryIO]:
    """Where results go; what has come is there even if the rest never comes."""
    if output is None or str(output) == "-":
        yield sys.stdout.buffer
        return
    try:
        target = output.open("wb")
    except OSError as error:
        text = f"{output} cannot be written ({error.strerror})"
        raise typer.BadParameter(text, param_hint="--output") from None
    with target:
        yield target


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read1(PIECE) if hasattr(source, "read1") else source.read(PIECE):
        yield piece


def _path(id: str) -> str:
    return f"/batches/{quote(id, safe='')}"
