"""The commands of a distributed deployment: each starts one role, from the same settings."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from runtime.cli.flags import takes_settings
from runtime.errors import ConfigurationError
from runtime.model import DEVICES, Device
from runtime.settings import read_settings

Functions = Annotated[
    list[str] | None,
    typer.Argument(metavar="FUNCTION", help="What to serve; none is every function."),
]
On = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="Serve this device only: cpu or gpu."),
]
Replicas = Annotated[
    int | None,
    typer.Option("--replicas", min=1, metavar="N", help="Keep N replicas of each function."),
]
Autoscale = Annotated[
    bool,
    typer.Option("--autoscale", help="Have as many replicas as each function's backlog asks for."),
]
Once = Annotated[
    bool,
    typer.Option(
        "--once",
        help="Take one message, finish it and exit 0; also if none comes for a minute.",
    ),
]
Records = Annotated[
    bool,
    typer.Option(
        "--recorder/--no-recorder", help="Record outcomes here, or leave it to `lumbre recorder`."
    ),
]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command with parameters of its own, and a flag for every setting after them."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        command(**given)

    takes_settings(wrapped)
    flags = inspect.signature(wrapped).parameters.values()
    names = {parameter.name for parameter in own}
    both = [*own, *(flag for flag in flags if flag.name not in names)]
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in both]
    vars(wrapped).update(__signature__=inspect.Signature(keyword))
    wrapped.__annotations__ = {p.name: p.annotation for p in keyword}
    return wrapped


@with_settings
def gateway(recorder: Records = True, **flags: Any) -> None:
    """Serve HTTP for workers elsewhere, over RabbitMQ. Any number of gateways may run.

    \b
    Examples:
      LUMBRE_BROKER_URL=amqp://guest:guest@localhost lumbre gateway
      lumbre gateway --broker-url amqp://guest:guest@localhost --port 8081 --no-recorder
    """
    from runtime.roles import run_gateway

    run_gateway(read_settings(flags), records=recorder)


@with_settings
def console(**flags: Any) -> None:
    """Serve the console by itself, for gateways and workers elsewhere, over RabbitMQ.

    It has the API as well, on the same ledger and queues, and records nothing itself. With
    --read-only it shows, and everything that would change something is refused.

    \b
    Examples:
      LUMBRE_BROKER_URL=amqp://guest:guest@localhost lumbre console --port 8090
      lumbre console --broker-url amqp://guest:guest@localhost --port 8090 --read-only
    """
    from runtime.roles import run_console

    run_console(read_settings(flags))


@with_settings
def worker(
    functions: Functions = None,
    device: On = None,
    replicas: Replicas = None,
    autoscale: Autoscale = False,
    once: Once = False,
    **flags: Any,
) -> None:
    """Run functions for gateways elsewhere, over RabbitMQ. Any number of workers may run.

    Without --replicas or --autoscale, one replica of each function on each device. SIGTERM lets
    what runs finish (--grace) and gives the rest back.

    \b
    Examples:
      LUMBRE_BROKER_URL=amqp://guest:guest@localhost lumbre worker --autoscale
      lumbre worker matmul --device gpu --replicas 1 --broker-url amqp://guest:guest@localhost
      lumbre worker train --device gpu --once    one message, for a Kubernetes Job
    """
    from runtime.roles import run_worker
    from runtime.worker_role import Duty

    if replicas is not None and autoscale:
        raise ConfigurationError("--replicas and --autoscale exclude each other: say one")
    if once and (autoscale or replicas not in (None, 1)):
        raise ConfigurationError("--once is one replica, for one message: leave the others out")
    devices: tuple[Device, ...] = tuple(known for known in DEVICES if known == device)
    if device is not None and not devices:
        raise ConfigurationError(f"--device is {device!r}: cpu or gpu")
    each = None if autoscale else replicas or 1
    run_worker(read_settings(flags), Duty(tuple(functions or ()), devices, each, once))


@with_settings
def recorder(**flags: Any) -> None:
    """Write what workers report to the ledger, and keep it in order. Any number may run.

    Gateways do this themselves unless they were started with --no-recorder.

    \b
    Examples:
      LUMBRE_BROKER_URL=amqp://guest:guest@localhost lumbre recorder
    """
    from runtime.roles import run_recorder

    run_recorder(read_settings(flags))


@with_settings
def declare(**flags: Any) -> None:
    """Make every queue of the functions exist at the broker. Doing it again changes nothing.

    Gateways and workers do this when they start. KEDA asks about queues before there is a worker,
    so a cluster runs it first; it waits for the broker (--broker-patience).

    \b
    Examples:
      LUMBRE_BROKER_URL=amqp://guest:guest@localhost lumbre declare
    """
    from runtime.roles import run_declare

    for queue in run_declare(read_settings(flags)):
        typer.echo(f"declared {queue}")


@with_settings
def migrate(**flags: Any) -> None:
    """Bring the ledger's tables up to this version of Lumbre. Doing it again changes nothing.

    \b
    Examples:
      lumbre migrate
      lumbre migrate --ledger-url postgresql://lumbre:secret@localhost/lumbre
    """
    from runtime.migrate import upgrade

    applied = upgrade(read_settings(flags).ledger)
    for revision in applied:
        typer.echo(f"applied {revision}")
    if not applied:
        typer.echo("the ledger is up to date")
