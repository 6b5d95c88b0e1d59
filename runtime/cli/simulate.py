"""`lumbre simulate`: what a policy would have done, or would do, without a node or a cluster."""

import os
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.flags import Json

if TYPE_CHECKING:
    from autoscaler.scene import Scene
    from autoscaler.trace import Trace

SECONDS = 3600.0  # of made-up arrivals
# Seconds until a replica is ready where nothing tells: here, of a warm fork server with a function
# that sets nothing up (docs/benchmarks.md measures 21 ms); on a cluster, of a pod whose image is on
# its node, which is an assumption.
STARTS = {"local": "0.03", "cluster": "5", "push": "5"}

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TRACE] [KNOB=VALUE]...",
        help="A file of `lumbre invocations --all --json`, - for standard input; and knobs of"
        " the policy: target, cooldown, min, max, activation, polling, window, tolerance.",
        show_default=False,
    ),
]
Arrivals = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Made-up arrivals: poisson:RATE, constant:RATE, burst:RATE:ON:OFF, diurnal:LOW:HIGH,"
        " ramp:FROM:TO; rates a second.",
    ),
]
Run = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long one runs: seconds, exponential:MEAN, lognormal:MEAN:DEVIATION."
        " A trace has its own.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How long a replica takes until it is ready; likewise."),
]
Seconds = Annotated[
    float, typer.Option(min=1e-3, metavar="S", help="How long made-up arrivals go on.")
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="local: as lumbre up; cluster: KEDA's polls and the HPA's syncs; push: woken at the"
        " publish.",
    ),
]
Function = Annotated[str | None, typer.Option(help="Of a trace, this function only.")]
Device = Annotated[str | None, typer.Option(help="Of a trace, cpu or gpu only.")]
Places = Annotated[
    int | None,
    typer.Option("--gpus", min=1, metavar="N", help="Places for replicas, draining ones too."),
]
Statistics = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="S",
        help="Seconds between two statistics of a queue; 5 on a cluster, as RabbitMQ has them.",
    ),
]
Pull = Annotated[
    float, typer.Option(min=0, metavar="S", help="Seconds until a node has the image.")
]
PerNode = Annotated[
    int, typer.Option(min=1, metavar="N", help="Replicas that a node has room for.")
]
Price = Annotated[
    float | None,
    typer.Option(min=0, metavar="P", help="Of one replica for an hour, in any currency."),
]
IsSweep = Annotated[
    bool, typer.Option("--sweep", help="Try every combination of KNOB=VALUE,VALUE,… and compare.")
]
Goal = Annotated[
    float | None,
    typer.Option(
        "--p95", min=0, metavar="S", help="Of a sweep: recommend the cheapest that has it."
    ),
]
Plot = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw it, as .png or .svg.", show_default=False)
]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed, the same arrivals and times.")]


def simulate(
    words: Words = None,
    arrivals: Arrivals = None,
    run: Run = None,
    start: Start = None,
    seconds: Seconds = SECONDS,
    engine: EngineName = "local",
    function: Function = None,
    device: Device = None,
    places: Places = None,
    statistics: Statistics = None,
    image_pull: Pull = 0.0,
    per_node: PerNode = 1,
    price: Price = None,
    sweep: IsSweep = False,
    goal: Goal = None,
    plot: Plot = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Play arrivals against a policy: latency, replicas, and what they cost; no node is needed.

    What decides is what decides here and what KEDA and the HPA do. It says what it assumes.

    \b
    Examples:
      lumbre invocations --function matmul --since 1d --all --json > trace.json
      lumbre simulate trace.json target=2 cooldown=30
      lumbre simulate --arrivals burst:20:60:600 --run 0.3 max=8 --plot burst.png
      lumbre simulate trace.json --sweep target=1,2,4 cooldown=30,60,300 min=0,1 --price 2.50
      lumbre simulate trace.json --engine cluster --start 20 --gpus 8 --p95 5 --sweep min=0,1,2
    """
    from autoscaler.scene import ENGINES
    from autoscaler.sweep import knobs_of

    told = words or []
    files = [word for word in told if "=" not in word]
    if engine not in ENGINES:
        raise typer.BadParameter(f"is none of {', '.join(ENGINES)}", param_hint="--engine")
    if len(files) > 1 or (len(files) == 1) == (arrivals is not None):
        raise typer.BadParameter("give one TRACE, or --arrivals with --run: one of the two")
    if plot is not None:
        from autoscaler.picture import check_plot

        check_plot(plot)
    values = knobs_of([word for word in told if "=" in word])
    trace = _trace(files[0], function, device) if files else None
    assumed: list[str] = []
    came = _made_up(arrivals, run, seconds, seed) if trace is None else (trace.arrivals, trace.runs)
    if trace is not None:
        assumed += _about(trace, run)
        if run is not None:
            came = (came[0], _durations(run, "--run").many(Random(seed), len(came[0])))
    scene = _scene(came, engine, start, places, statistics, trace, assumed)
    scene = _changed(scene, pull=image_pull, per_node=per_node, seed=seed)
    bound = "max_replicas" in values
    asked = _Asked(_most(engine, places, bound, assumed), price, plot, json, trace, assumed)
    if sweep:
        _sweep(scene, values, goal, asked)
    else:
        _one(scene, values, asked)


class _Asked:
    """What the two ways of simulating are told beside the scene."""

    def __init__(
        self,
        most: int,
        price: float | None,
        plot: Path | None,
        json: bool,
        trace: "Trace | None",
        assumed: list[str],
    ) -> None:
        self.most, self.price, self.plot, self.json = most, price, plot, json
        self.trace, self.assumed = trace, assumed

    @property
    def each(self) -> float:
        """The price of a replica-hour; 1 where none was given: cost is in replica-hours."""
        return 1.0 if self.price is None else self.price


def _one(scene: "Scene", values: dict[str, list[float]], asked: _Asked) -> None:
    from autoscaler.simulate import simulate as play
    from autoscaler.summary import recorded, summary
    from autoscaler.sweep import policy_for, scaling_of
    from runtime.cli import session, simulation

    several = [name for name, given in values.items() if len(given) > 1]
    if several:
        raise typer.BadParameter(f"{several[0]} has several values: say --sweep to compare them")
    scaling = scaling_of({name: given[0] for name, given in values.items()})
    found = play(_changed(scene, policy=policy_for(scene.engine, scaling, asked.most)))
    view: dict[str, Any] = {
        "policy": _policy_view(scaling, asked.most),
        "engine": scene.engine,
        "simulated": summary(found, asked.each),
        "recorded": recorded(asked.trace) if asked.trace else None,
        "assumed": asked.assumed,
    }
    if asked.plot is not None:
        from autoscaler.picture import plot

        plot(found, f"{scene.engine}: {simulation.policy_words(view['policy'])}", asked.plot)
    if asked.json:
        session.print_json(view)
    else:
        session.show(simulation.one(view, asked.price))
    _note_plot(asked)


def _sweep(
    scene: "Scene", values: dict[str, list[float]], goal: float | None, asked: _Asked
) -> None:
    from autoscaler.summary import swept
    from autoscaler.sweep import scaling_of, sweep
    from runtime.cli import session, simulation

    if not values:
        raise typer.BadParameter("--sweep needs knobs: target=1,2,4 cooldown=30,300")
    fixed = {name: given[0] for name, given in values.items() if len(given) == 1}
    varied = {name: given for name, given in values.items() if len(given) > 1}
    with simulation.progress(quiet=asked.json or not sys.stderr.isatty()) as tell:
        found = sweep(
            scene, scaling_of(fixed), varied or values, most=asked.most, goal=goal, progress=tell
        )
    view = {"engine": scene.engine, **swept(found, asked.each), "assumed": asked.assumed}
    if asked.plot is not None:
        from autoscaler.picture import plot_sweep

        plot_sweep(found, "policies, by p95 and cost", asked.plot, asked.price)
    if asked.json:
        session.print_json(view)
    else:
        session.show(simulation.sweep(view, found.recommended.words, asked.price))
    _note_plot(asked)


# ── what the flags mean ───────────────────────────────────────────────────────────────────────


def _trace(name: str, function: str | None, device: str | None) -> "Trace":
    from autoscaler.trace import read_trace

    return read_trace(Path("/dev/stdin" if name == "-" else name), function, device)


def _made_up(
    arrivals: str | None, run: str | None, seconds: float, seed: int
) -> tuple[list[float], list[float]]:
    from autoscaler.arrivals import pattern

    if run is None:
        raise typer.BadParameter("made-up arrivals need --run, how long one of them runs")
    random = Random(seed)
    instants = pattern(arrivals or "").instants(seconds, random)
    if not instants:
        raise typer.BadParameter(f"no arrival in {seconds:g} s: give more --seconds")
    return instants, _durations(run, "--run").many(random, len(instants))


def _scene(
    came: tuple[list[float], list[float]],
    engine: Any,
    start: str | None,
    places: int | None,
    statistics: float | None,
    trace: "Trace | None",
    assumed: list[str],
) -> "Scene":
    from autoscaler.policy import Policy
    from autoscaler.scene import STATISTICS, Scene

    measured = trace.starts if trace is not None and engine == "local" else None
    starts = measured if start is None and measured is not None else None
    if starts is None:
        starts = _durations(start or STARTS[engine], "--start")
    if start is None:
        source = "as recorded of cold ones" if measured else "which --start changes"
        assumed.append(f"a replica takes {starts.words} to start, {source}")
    if statistics is None:
        statistics = 0.0 if engine == "local" else STATISTICS
    if statistics:
        assumed.append(f"a queue's statistics are made every {statistics:g} s")
    return Scene(
        policy=Policy(target=1),
        arrivals=came[0],
        runs=came[1],
        engine=engine,
        start=starts,
        places=places,
        statistics=statistics,
    )


def _most(engine: str, places: int | None, bound: bool, assumed: list[str]) -> int:
    """Replicas that there may be where the knobs do not say."""
    from autoscaler.keda import DEFAULT_MOST

    cores = len(os.sched_getaffinity(0))
    most = places or (cores if engine == "local" else DEFAULT_MOST)
    if places is None and not bound:
        why = "the cores here" if engine == "local" else "KEDA's default"
        assumed.append(f"without max= there are at most {most} replicas: {why}")
    return most


def _about(trace: "Trace", run: str | None) -> list[str]:
    told = [f"{trace.function} on {trace.device}, {len(trace.calls):,} invocations as recorded"]
    if trace.left_out:
        told.append(f"{trace.left_out:,} that did not run to an end are left out")
    if run is None:
        told.append("each runs for as long as it did then, however many run at once")
    return told


def _durations(text: str, name: str) -> Any:
    from autoscaler.durations import durations

    return durations(text, name)


def _changed(scene: "Scene", **changes: Any) -> "Scene":
    from dataclasses import replace

    return replace(scene, **changes)


def _policy_view(scaling: Any, most: int) -> dict[str, float]:
    from dataclasses import asdict

    return {**asdict(scaling), "max_replicas": scaling.max_replicas or most}


def _note_plot(asked: _Asked) -> None:
    from runtime.cli import session

    if asked.plot is not None:
        session.note(f"drawn: {asked.plot}")
