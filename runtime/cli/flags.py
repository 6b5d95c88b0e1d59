"""The flags and arguments that several commands of `lumbre` share."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.settings import Settings

FAILED = 1  # exit code of what did not succeed

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="LUMBRE_URL",
        metavar="URL",
        help="The node to ask; without it, the one on this machine's LUMBRE_HOST and LUMBRE_PORT.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the raw JSON, for scripts.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="An invocation's id.", show_default=False)]
Function = Annotated[
    str, typer.Argument(metavar="FUNCTION", help="A function's name.", show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the result there; - is the screen."),
]
Wait = Annotated[
    int | None,
    typer.Option("--wait", min=0, metavar="SECONDS", help="Wait no longer than this; then exit 3."),
]
Background = Annotated[
    bool, typer.Option("--async", help="Print its id once it is queued, and do not wait.")
]


# Settings that somebody who starts a node at home may want; the others stand below them.
COMMON = (
    *("host", "port", "functions", "state", "reload", "simulate_gpu", "gpus"),
    *("insecure", "keys", "console", "read_only", "debug", "log_format", "log_level", "grace"),
    *("broker_url", "ledger_url"),
)


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for every setting; a flag that is not given is None."""
    names = [*COMMON, *(name for name in Settings.model_fields if name not in COMMON)]
    parameters = [_flag(name) for name in names]
    vars(command).update(__signature__=inspect.Signature(parameters))
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _flag(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    kind = field.annotation if field.annotation in (bool, int, float) else str
    word = name.replace("_", "-")
    default = "" if field.default in (False, "") else f" [default: {field.default}]"
    option = typer.Option(
        f"--{word}/--no-{word}" if kind is bool else f"--{word}",
        help=f"{field.description}{default}".replace("[", r"\["),
        rich_help_panel="Options" if name in COMMON else "Limits and stores",
        show_default=False,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def check_output(output: Path | None) -> None:
    """Refuse a place where nothing can be written before anything runs."""
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise typer.BadParameter(f"{output} is no place for a file", param_hint="--output")


def help_of(command: Callable[..., Any]) -> str:
    """A command's docstring as typer takes it: prose flows, a paragraph after \\b stays as it is.

    typer of 2026 keeps every line break and that of 2024 keeps none; so told, both do as meant.
    """
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(
        paragraph.replace("\b\n", "\b", 1)
        if paragraph.startswith("\b")
        else paragraph.replace("\n", " ")
        for paragraph in paragraphs
    )
