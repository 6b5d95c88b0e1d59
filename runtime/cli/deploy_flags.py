"""The flags of `lumbre deploy`."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.cli.deployment import Inputs

Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FOLDER", help="Folders of functions; none is LUMBRE_FUNCTIONS."),
]
Overlay = Annotated[
    str,
    typer.Option(
        "--overlay", metavar="NAME", help="dev: one node, such as kind. production: several."
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--values", metavar="FILE", help="Values above the overlay's; may be repeated."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="One value, above those; may be repeated."),
]
InNamespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="The values' namespace.")
]
Trigger = Annotated[
    str | None,
    typer.Option("--trigger", metavar="KIND", help="What wakes workers: rabbitmq, or push."),
]
GpuCount = Annotated[
    int | None,
    typer.Option("--gpus", min=0, metavar="N", help="The GPUs of all nodes (gpus.count)."),
]
WorkerCommand = Annotated[
    str | None,
    typer.Option("--worker-command", metavar="WORDS", help="Run instead of the image's `lumbre`."),
]
FromCatalog = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", help="Functions as `lumbre bake` wrote them."),
]
Place = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|FOLDER",
        help="A file, or a folder with a kustomization.yaml; not said is standard output.",
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="A context of the kubeconfig.")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Instead of KUBECONFIG, or ~/.kube/config."),
]
DryRun = Annotated[
    str | None,
    typer.Option("--dry-run", metavar="server", help="Let the cluster check it; change nothing."),
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait no longer.")
]
Patience = Annotated[
    float,
    typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait no longer, for all phases."),
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Delete what an earlier apply made and is no longer rendered."),
]
Force = Annotated[
    bool, typer.Option("--force-conflicts", help="Take fields that others have changed.")
]
Gateway = Annotated[
    str | None,
    typer.Option("--gateway", metavar="URL", help="Ask a gateway as well, for live backlogs."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Volumes, Secrets and the namespace, too: all data is lost.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def takes_inputs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say what is deployed; it gets them as its first argument."""
    own = list(inspect.signature(command).parameters.values())[1:]
    shared = list(inspect.signature(_inputs).parameters.values())

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        inputs = _inputs(**{each.name: given.pop(each.name) for each in shared})
        command(inputs, **given)

    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [*shared, *own]]
    vars(wrapped).update(__signature__=inspect.Signature(keyword))
    wrapped.__annotations__ = {each.name: each.annotation for each in keyword}
    return wrapped


def _inputs(
    overlay: Overlay,
    folders: Folders = None,
    values: Files = None,
    sets: Sets = None,
    namespace: InNamespace = None,
    trigger: Trigger = None,
    gpus: GpuCount = None,
    worker_command: WorkerCommand = None,
    catalog: FromCatalog = None,
) -> Inputs:
    return Inputs(
        folders or (),
        catalog,
        overlay,
        values or (),
        sets or (),
        namespace,
        trigger,
        gpus,
        worker_command,
    )
