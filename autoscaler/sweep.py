"""Play one scene under many policies, and say which of them to take.

A policy is worth looking at where no other is as cheap and as fast: those are the front.  Of it,
the cheapest that meets a goal is recommended; without a goal the one with the least product of p95
and cost, which is to take twice the p95 for less than half the cost, and not for more.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import inf

from autoscaler.keda import DEFAULT_MOST, scaled_object
from autoscaler.policy import Policy
from autoscaler.rendered import policy_of
from autoscaler.scene import Engine, Scene, settling
from autoscaler.simulate import simulate
from autoscaler.simulated import Simulated
from runtime.errors import ConfigurationError
from runtime.function import Scaling

SHORT = {  # knobs as one writes them, beside the names of the fields of Scaling
    "min": "min_replicas",
    "max": "max_replicas",
    "polling": "polling_interval",
    "window": "stabilization_window",
}
KNOBS = tuple(field.name for field in fields(Scaling))
MOST = 1000  # policies of one sweep
LEAST = 1e-9  # of a cost or a latency that is multiplied: nothing is better than nothing at all

Values = Mapping[str, Sequence[float]]  # knobs and what to try for each


@dataclass(frozen=True, slots=True)
class Candidate:
    """One policy, and what became of the scene under it."""

    knobs: Mapping[str, float]  # those that differ between candidates
    scaling: Scaling
    found: Simulated

    def p95(self) -> float:
        """Seconds from arrival to the end that 95 % do not exceed."""
        return self.found.total.p95

    @property
    def words(self) -> str:
        """The knobs as they are written."""
        return " ".join(f"{_short(name)}={value:g}" for name, value in self.knobs.items())


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every candidate, those that no other beats (cheapest first), and which to take, and why."""

    candidates: Sequence[Candidate]
    front: Sequence[Candidate]
    recommended: Candidate
    why: str


def knobs_of(words: Sequence[str]) -> dict[str, list[float]]:
    """What `target=1,2,4 min=0` says; ConfigurationError, with the word, for what is no knob."""
    found: dict[str, list[float]] = {}
    for word in words:
        name, _, values = word.partition("=")
        full = SHORT.get(name, name)
        if full not in KNOBS:
            known = ", ".join(_short(knob) for knob in KNOBS)
            raise ConfigurationError(
                f"{word!r} names no knob: write KNOB=VALUE with one of {known}"
            )
        try:
            found[full] = [float(value) for value in values.split(",")]
        except ValueError:
            raise ConfigurationError(
                f"{word!r} has no number: write {name}=2, or {name}=1,2,4 with --sweep"
            ) from None
    return found


def scaling_of(knobs: Mapping[str, float], base: Scaling | None = None) -> Scaling:
    """The scaling with these knobs; ConfigurationError where a value cannot be."""
    for name, value in knobs.items():
        whole = name.endswith("_replicas")
        least = 1.0 if name == "max_replicas" else 0.0
        above = name in ("target", "polling_interval")
        fits = least <= value < inf and not (above and not value)
        if not fits or (whole and value % 1):
            what = "a whole number" if whole else "a number"
            bound = "above 0" if above else f"of at least {least:g}"
            raise ConfigurationError(f"{_short(name)}={value:g}: give {what} {bound}")
    values = {n: int(v) if n.endswith("_replicas") else v for n, v in knobs.items()}
    scaling = replace(base or Scaling(), **values)  # type: ignore[arg-type]
    most = scaling.max_replicas
    if most is not None and scaling.min_replicas > most:
        raise ConfigurationError(f"min={scaling.min_replicas} is above max={most}")
    return scaling


def policy_for(engine: Engine, scaling: Scaling, most: int = DEFAULT_MOST) -> Policy:
    """The policy of an engine; `most` counts where the scaling names no maximum.

    On a cluster it is that of the ScaledObject which `lumbre deploy` renders, read back, so that
    what is rounded there is rounded here.
    """
    if engine == "local":
        return Policy.of(scaling, most)
    return policy_of(scaled_object("f", "cpu", scaling, most))


def sweep(
    scene: Scene,
    scaling: Scaling,
    values: Values,
    *,
    most: int = DEFAULT_MOST,
    goal: float | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Sweep:
    """Play the scene with every combination of the knobs' values; `goal` is a p95 in seconds.

    All see the same arrivals, run times and seed, and are counted over the same stretch of time.
    """
    combined = list(_combinations(values))
    if len(combined) > MOST:
        raise ConfigurationError(f"{len(combined):,} policies: try at most {MOST:,} at once")
    scalings = [scaling_of(knobs, scaling) for knobs in combined]
    policies = [policy_for(scene.engine, each, most) for each in scalings]
    last = scene.arrivals[-1] if scene.arrivals else 0.0
    until = scene.until
    if until is None:
        until = last + max(settling(policy) for policy in policies)
    candidates = []
    for knobs, each, policy in zip(combined, scalings, policies, strict=True):
        found = simulate(replace(scene, policy=policy, until=until))
        candidates.append(Candidate(knobs, each, found))
        progress(len(candidates), len(combined))
    return judged(candidates, goal)


def judged(candidates: Sequence[Candidate], goal: float | None = None) -> Sweep:
    """The front of at least one candidate, and the one to take."""
    served = [each for each in candidates if not each.found.unserved]
    if not served:
        raise ConfigurationError(
            "under every one of these policies some invocations wait for ever: lower the activation"
        )
    front = _front(served)
    met = [each for each in front if goal is not None and each.p95() <= goal]
    if met:
        return Sweep(
            candidates, front, met[0], f"it is the cheapest with a p95 of at most {goal:g} s"
        )
    if goal is not None:
        why = f"none has a p95 of at most {goal:g} s, and it is the fastest"
        return Sweep(candidates, front, front[-1], why)
    best = min(front, key=lambda each: max(each.p95(), LEAST) * max(_cost(each), LEAST))
    return Sweep(candidates, front, best, _why(best, front))


def _why(best: Candidate, front: Sequence[Candidate]) -> str:
    cheapest, fastest = front[0], front[-1]
    if cheapest is fastest:
        return "no other is as cheap, and none is as fast"
    told = []
    if best is not fastest:
        slower, share = _times(best.p95(), fastest.p95()), _cost(best) / max(_cost(fastest), LEAST)
        told.append(f"its p95 is {slower} the fastest's at {share:.0%} of that one's cost")
    if best is not cheapest:
        dearer, share = (
            _times(_cost(best), _cost(cheapest)),
            best.p95() / max(cheapest.p95(), LEAST),
        )
        told.append(f"it costs {dearer} what the cheapest does, whose p95 it has {share:.0%} of")
    return "; ".join(told) + "; twice the p95 counts as much as twice the cost"


def _times(value: float, of: float) -> str:
    return f"{value / max(of, LEAST):.3g} times"


def _cost(candidate: Candidate) -> float:
    return candidate.found.seconds.total


def _front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those with no other that is as cheap and as fast, and better in one; the cheapest first."""
    front: list[Candidate] = []
    for each in sorted(candidates, key=lambda each: (_cost(each), each.p95())):
        if not front or each.p95() < front[-1].p95():
            front.append(each)
    return front


def _combinations(values: Values) -> Iterator[dict[str, float]]:
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _short(name: str) -> str:
    return next((short for short, full in SHORT.items() if full == name), name)
