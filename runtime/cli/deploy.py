"""`lumbre deploy`: functions as objects of Kubernetes, and a cluster to apply them to."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from runtime.cli.deploy_flags import (
    Context,
    DryRun,
    Everything,
    Force,
    Gateway,
    InNamespace,
    Kubeconfig,
    Patience,
    Place,
    Prune,
    Timeout,
    Yes,
    takes_inputs,
)
from runtime.cli.deployment import Inputs
from runtime.cli.flags import FAILED, Json, help_of
from runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from autoscaler.cluster import Cluster
    from autoscaler.identity import Identity, Object
    from autoscaler.lookout import Progress
    from autoscaler.rollout import Rollout
    from deploy.credentials import Credential
    from deploy.values import Values
    from runtime.function import FunctionSpec

DIFFERS = 3  # exit code of `diff` where an apply would change something
APPLYING = 900.0  # seconds that `apply` waits, unless told otherwise


def deploy() -> None:
    """Functions on Kubernetes, scaled by KEDA: render YAML, apply it, see how it stands.

    Images come from `deploy/scripts/build_images.sh`; docs/deployment.md goes from nothing to a
    working cluster.

    \b
    Examples:
      lumbre deploy render --overlay dev | less
      lumbre deploy apply --overlay production --values cluster.yaml
      lumbre deploy status
      lumbre deploy diff --overlay production --values cluster.yaml
      lumbre deploy delete
    """


@takes_inputs
def render(inputs: Inputs, output: Place = None) -> None:
    """Print the objects of a cluster as YAML; nothing is asked, and there is no Secret in it.

    \b
    Examples:
      lumbre deploy render --overlay dev
      lumbre deploy render examples --overlay production --set gpus.count=4 -o manifests/
      kubectl diff -k manifests/
    """
    from deploy.bundle import bundle, headline, write_folder
    from deploy.stream import as_stream
    from runtime.cli import session

    values = inputs.values()
    specs = inputs.specs()
    phases = bundle(specs, values)
    _note_surprises(specs, values)
    head = headline(values)
    if output is None:
        typer.echo(as_stream(_flat(phases), head), nl=False)
    elif output.is_dir() or output.suffix not in (".yaml", ".yml"):
        written = write_folder(phases, output, head)
        session.note(f"wrote {len(written)} files into {output}: kubectl apply -k {output}")
    else:
        if not output.parent.is_dir():
            raise ConfigurationError(f"--output {output}: there is no folder {output.parent}")
        output.write_text(as_stream(_flat(phases), head), encoding="utf-8")
        session.note(f"wrote {output}: kubectl apply --server-side -f {output}")


@takes_inputs
def apply(
    inputs: Inputs,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    dry_run: DryRun = None,
    timeout: Patience = APPLYING,
    prune: Prune = False,
    force_conflicts: Force = False,
) -> None:
    """Apply the objects to a cluster, phase by phase, and wait until each phase is ready.

    It is tried first, so that what the cluster would refuse changes nothing. Secrets of the
    stores that are made here (kind: pod) are made, too. Doing it again changes nothing; replicas
    of workers are KEDA's and are left alone.

    \b
    Examples:
      lumbre deploy apply --overlay dev
      lumbre deploy apply --overlay production --values cluster.yaml --dry-run=server
      lumbre deploy apply --overlay production --context prod --prune --timeout 1800
    """
    from autoscaler.removal import remove
    from autoscaler.rollout import Rollout
    from deploy.credentials import missing
    from runtime.cli.progress import shown_progress

    if dry_run not in (None, "server"):
        raise typer.BadParameter("it is server: the cluster checks it", param_hint="--dry-run")
    values = inputs.values()
    specs = inputs.specs()
    with _asking(values.namespace, context, kubeconfig) as cluster, shown_progress() as progress:
        values, phases = _fitting(cluster, specs, values)
        wanted = _flat(phases)
        lacking = missing(cluster, values)
        old = _old(cluster, wanted, prune)
        rollout = Rollout(cluster, progress, timeout=timeout, force=force_conflicts)
        tried = rollout.try_out(wanted)
        if dry_run:
            _tell_plan(progress, tried, lacking)
            _tell_old(old, "would be deleted" if prune else "no longer rendered")
            return
        _make_ready(cluster, rollout, phases, values, lacking)
        rollout.apply(phases)
        if prune:
            remove(cluster, old, progress)
        else:
            _tell_old(old, "no longer rendered: --prune deletes it")


@takes_inputs
def diff(
    inputs: Inputs,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    prune: Prune = False,
) -> None:
    """Show what an apply would change, as the cluster works it out; exit 3 if it would.

    \b
    Examples:
      lumbre deploy diff --overlay dev
      lumbre deploy diff --overlay production --values cluster.yaml --prune || echo "apply it"
    """
    from autoscaler.drift import drift
    from autoscaler.inventory import leftovers
    from runtime.cli import session

    values = inputs.values()
    specs = inputs.specs()
    with _asking(values.namespace, context, kubeconfig) as cluster:
        values, phases = _fitting(cluster, specs, values)
        wanted = _flat(phases)
        changes = 0
        for change in drift(cluster, wanted, leftovers(cluster, wanted) if prune else ()):
            changes += 1
            typer.echo(change.diff, nl=False)
            if change.owned:
                session.note(change.owned)
    if changes:
        raise typer.Exit(DIFFERS)


def status(
    namespace: InNamespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    gateway: Gateway = None,
    json: Json = False,
) -> None:
    """Tell how each function stands on its cluster: backlog, replicas, and why anything waits.

    \b
    Examples:
      lumbre deploy status
      lumbre deploy status --namespace team-a --json
      lumbre deploy status --gateway http://127.0.0.1:8080    live backlogs, through a port-forward
    """
    from autoscaler.standing import Standings
    from runtime.cli import session
    from runtime.cli.standings import as_table, with_gateway

    with _asking(namespace or "lumbre", context, kubeconfig) as cluster:
        found = Standings(cluster).read()
        where = f"in the namespace {cluster.namespace} of {cluster.where}"
    views = [asdict(each) for each in found]
    if gateway:
        with session.asking(gateway, json) as node:
            views = with_gateway(views, node.get("/functions")["items"])
    if json:
        session.print_json(views)
    elif not views:
        session.note(f"there are no functions {where}: lumbre deploy apply")
    else:
        session.show(as_table(views))


def delete(
    namespace: InNamespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    all: Everything = False,
    timeout: Timeout = None,
    yes: Yes = False,
) -> None:
    """Delete what was applied, and wait until it is gone: what runs is finished first.

    Volumes, Secrets, a RabbitmqCluster and the namespace stay, unless --all, and an apply finds
    them again.

    \b
    Examples:
      lumbre deploy delete
      lumbre deploy delete --namespace team-a --all --yes
    """
    from autoscaler.inventory import data, inventory, shared
    from autoscaler.removal import remove
    from runtime.cli import session
    from runtime.cli.progress import shown_progress

    with _asking(namespace or "lumbre", context, kubeconfig) as cluster:
        kept = data(cluster)
        objects = inventory(cluster)
        if all:
            objects, kept = [*objects, *kept, *shared(cluster)], []
        where = f"the namespace {cluster.namespace} of {cluster.where}"
        if not objects:
            session.note(f"there is nothing to delete in {where}")
        else:
            _confirm(objects, where, yes, everything=all)
            with shown_progress() as progress:
                remove(cluster, objects, progress, timeout=timeout)
        if kept:
            names = ", ".join(str(cluster.identify(each)) for each in kept)
            session.note(f"kept, since they hold data (--all deletes them): {names}")


# ── a cluster ─────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _asking(namespace: str, context: str | None, kubeconfig: Path | None) -> "Iterator[Cluster]":
    """A connection to the cluster, and what to say when somebody interrupts."""
    from autoscaler.cluster import connect
    from runtime.cli import session

    with connect(namespace, context, kubeconfig) as cluster:
        try:
            yield cluster
        except KeyboardInterrupt:
            session.note("\ninterrupted: what was done stays; the same command takes it up again")
            raise typer.Exit(session.INTERRUPTED) from None


def _fitting(
    cluster: "Cluster", specs: "Sequence[FunctionSpec]", values: "Values"
) -> "tuple[Values, dict[str, list[Object]]]":
    """The objects for this cluster's GPUs; refused where it lacks what they need."""
    from autoscaler.requirements import check_kinds, offered, warnings
    from deploy.bundle import bundle
    from runtime.cli import session

    gpus = values.gpus
    asked = any("gpu" in spec.devices for spec in specs) and "gpu" in values.devices
    if asked and gpus.resource and not gpus.device_class:
        there = offered(cluster, gpus.resource)
        if gpus.count is None:
            changed = gpus.model_copy(update={"count": there})
            values = values.model_copy(update={"gpus": changed})
        elif there is not None and there < gpus.count:
            session.note(
                f"note: gpus.count is {gpus.count}, and the nodes offer {there} {gpus.resource}"
                " now: pods beyond that wait until nodes are added"
            )
    phases = bundle(specs, values)
    _note_surprises(specs, values)
    check_kinds(cluster, _flat(phases))
    for warning in warnings(cluster, values.keda_namespace):
        session.note(f"warning: {warning}")
    return values, phases


def _old(cluster: "Cluster", wanted: "Sequence[Object]", prune: bool) -> "list[Object]":
    """What is no longer rendered; who may apply and not look around is told nothing of it."""
    from autoscaler.inventory import leftovers
    from autoscaler.refusal import Denied

    try:
        return leftovers(cluster, wanted)
    except Denied:
        if prune:
            raise
        return []


def _make_ready(
    cluster: "Cluster",
    rollout: "Rollout",
    phases: "Mapping[str, Sequence[Object]]",
    values: "Values",
    lacking: "Sequence[Credential]",
) -> None:
    """The namespace and the Secrets, which all else needs; then all else can be tried."""
    from deploy.credentials import make
    from runtime.cli import session

    wanted = _flat(phases)
    spaces = [each for each in wanted if each["kind"] == "Namespace"]
    new = [each for each in spaces if cluster.get(cluster.identify(each)) is None]
    if new:
        rollout.apply({"foundation": new})
    for name in make(cluster, values, lacking):
        session.note(f"made the Secret {name} with random values: it is kept by `delete`")
    if new:
        rollout.try_out(wanted)


# ── telling ───────────────────────────────────────────────────────────────────────────────────


def _flat(phases: "Mapping[str, Sequence[Object]]") -> "list[Object]":
    return [each for objects in phases.values() for each in objects]


def _note_surprises(specs: "Sequence[FunctionSpec]", values: "Values") -> None:
    from deploy.workload import notes
    from runtime.cli import session

    for note in notes(specs, values):
        session.note(f"note: {note}")


def _tell_plan(
    progress: "Progress", tried: "Mapping[Identity, str]", lacking: "Sequence[Credential]"
) -> None:
    for identity, how in tried.items():
        progress.step(f"{identity} would be {how}")
    for credential in lacking:
        progress.step(f"Secret {credential.name} would be created")


def _tell_old(objects: "Sequence[Object]", what: str) -> None:
    from runtime.cli import session

    for each in objects:
        session.note(f"{each['kind']} {each['metadata']['name']}: {what}")


def _confirm(objects: "Sequence[Object]", where: str, yes: bool, *, everything: bool) -> None:
    """Ask, unless it was answered; without a terminal there is nobody to ask."""
    from runtime.cli import session

    data = ", with all data that is in them," if everything else ""
    question = f"delete {len(objects)} objects{data} from {where}?"
    if yes:
        return
    if not sys.stdin.isatty():
        session.note(f"{question} Say --yes")
        raise typer.Exit(FAILED)
    for each in objects:
        session.note(f"  {each['kind']} {each['metadata']['name']}")
    if not typer.confirm(question, err=True):
        raise typer.Exit(FAILED)


app = typer.Typer(help=help_of(deploy), no_args_is_help=True, rich_markup_mode="rich")
for command in (render, apply, status, diff, delete):
    app.command(command.__name__, help=help_of(command))(command)
