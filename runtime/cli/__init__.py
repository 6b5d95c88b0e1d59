"""The command `lumbre`: start a node, and ask one over HTTP.

Here are the commands of this machine; those that ask about functions and invocations are in
`runtime.cli.calls`.  All import what they need when they run, so that `lumbre --help` answers at
once.
Exit codes: 0 done, 1 it failed, 2 wrong usage, 3 not finished yet, 130 interrupted.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from typer.core import TyperGroup

from runtime.cli import (
    audits,
    bake,
    batches,
    bench,
    calls,
    chaos,
    demo,
    deploy,
    doctor,
    keys,
    letters,
    loadtest,
    report,
    roles,
    simulate,
)
from runtime.cli.flags import FAILED, Json, help_of, takes_settings
from runtime.errors import LumbreError
from runtime.settings import Settings, origin, read_settings, without_password

EXTRAS = {  # by the library that is missing: the extra that installs it
    "hdrh": "loadtest",
    "matplotlib": "loadtest",
    "yaml": "loadtest",  # `lumbre deploy` has it from its own
    "kubernetes": "cluster",
    "urllib3": "cluster",
}


class Commands(TyperGroup):
    """The commands, with every error that somebody can do something about in one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LumbreError as error:
            typer.echo(f"lumbre: {error}", err=True)
            raise typer.Exit(FAILED) from None
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            extra = "cluster" if ctx.invoked_subcommand == deploy.deploy.__name__ else extra
            what = f"{error.name} is not installed: pip install 'lumbre[{extra}]'"
            typer.echo(f"lumbre: {what}", err=True)
            raise typer.Exit(FAILED) from None


app = typer.Typer(
    cls=Commands,
    name="lumbre",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version.")] = False,
) -> None:
    """GPU functions that rest at zero and light up on demand.

    \b
    Start like this:
      lumbre new hello           write a function, and a test of it
      lumbre up                  serve what is in functions/
      lumbre invoke hello n=3    run it, from another terminal

    Every command has examples: lumbre COMMAND --help
    """
    if version:
        _print_version(json=False)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@takes_settings
def up(**flags: Any) -> None:
    """Serve the functions of a folder: gateway, queues, replicas and autoscaler in one process.

    It runs until Ctrl-C, which lets what runs finish. Every flag may also be a variable
    (LUMBRE_PORT) or a line in lumbre.toml (port = 8081); see lumbre settings.

    \b
    Examples:
      lumbre up
      lumbre up --port 8081 --functions examples --reload
      lumbre up --simulate-gpu    GPU replicas that compute on the CPU, to try it out
      lumbre up --broker-url amqp://guest:guest@localhost    the same, over RabbitMQ
    """
    settings = read_settings(flags)
    if settings.embedded:
        from runtime.node import run_node

        run_node(settings)
        return
    from runtime.roles import run_gateway
    from runtime.worker_role import Duty

    run_gateway(settings, records=True, duty=Duty())


def settings(json: Json = False) -> None:
    """Print every setting, its value and where that came from.

    \b
    Examples:
      lumbre settings
      LUMBRE_PORT=9000 lumbre settings
    """
    from runtime.cli import session, terminal

    values = read_settings().model_dump(mode="json")
    rows = [(name, without_password(value), origin(name, {})) for name, value in values.items()]
    if json:
        session.print_json({n: {"value": value, "origin": where} for n, value, where in rows})
        return
    described = [(*row, Settings.model_fields[row[0]].description or "") for row in rows]
    session.show(terminal.settings(described))


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The function's name.")],
    gpu: Annotated[bool, typer.Option("--gpu", help="One in torch, for CPU and GPU.")] = False,
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="The project's folder.")
    ] = Path(),
    json: Json = False,
) -> None:
    """Write a function that works, functions/NAME.py, and a test that passes.

    \b
    Examples:
      lumbre new hello
      lumbre new blur --gpu --dir my-project
    """
    from runtime.cli import session
    from runtime.cli.scaffold import scaffold

    source, test = scaffold(name, folder / "functions", folder / "tests", gpu=gpu)
    if json:
        session.print_json({"function": str(source), "test": str(test)})
        return
    project = f"--functions {folder / 'functions'} " if folder != Path() else ""
    typer.echo(f"wrote {source} and {test}")
    typer.echo(f"  python -m pytest {test}")
    typer.echo(f"  lumbre up {project}".rstrip())
    typer.echo(f"  lumbre invoke {name} n=1000")


def version(json: Json = False) -> None:
    """Print the version of Lumbre and of Python.

    \b
    Examples:
      lumbre version
      lumbre version --json
    """
    _print_version(json)


def _print_version(json: bool) -> None:
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    try:
        release = version("lumbre")
    except PackageNotFoundError:
        release = "from source"
    if json:
        typer.echo(orjson.dumps({"lumbre": release, "python": python_version()}))
    else:
        typer.echo(f"lumbre {release}, Python {python_version()}")


COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Node": (up, demo.demo, settings, audits.audit, doctor.doctor, chaos.chaos, version),
    "Roles": (
        roles.gateway,
        roles.worker,
        roles.recorder,
        roles.console,
        roles.declare,
        roles.migrate,
    ),
    "Cluster": (deploy.deploy,),
    "Safety": (keys.keys,),
    "Functions": (new, calls.functions, calls.describe, calls.invoke, bake.bake),
    "Invocations": (
        calls.invocations,
        calls.show,
        calls.result,
        calls.logs,
        calls.cancel,
        calls.replay,
    ),
    "Dead letters": (letters.letters, letters.replay_letters, letters.discard_letters),
    "Batches": (batches.batch, batches.batches, batches.results),
    "Measuring": (loadtest.loadtest, bench.bench, report.report, simulate.simulate),
}

GROUPS = {keys.keys: keys.app, deploy.deploy: deploy.app}  # commands that have commands

app.callback(invoke_without_command=True, help=help_of(root))(root)
for panel, commands in COMMANDS.items():
    for command in commands:
        if group := GROUPS.get(command):
            app.add_typer(group, name=command.__name__, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel, help=help_of(command))(command)


def main() -> None:
    """The entry point of `lumbre`."""
    app(prog_name="lumbre")
