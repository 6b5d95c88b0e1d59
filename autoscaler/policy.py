"""Decide how many replicas a queue deserves, as KEDA and the HPA would.

Two clocks meet here.  KEDA's loop (`keda_step`) looks every `polling_interval` and owns the way
from zero and to zero: activation, cooldown, fallback.  The HPA (`hpa_step`) syncs every
`sync_interval` and owns what is between: target, tolerance, stabilization window, rates.  `decide`
runs whichever is due.  All of it is pure: time is an argument, and nothing is read or started.

Sources: KEDA 2.20 (scale_scaledobjects.go, fallback.go, hpa.go) and Kubernetes 1.36
(podautoscaler/horizontal.go, replica_calculator.go); replayed against both in the tests.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from runtime.function import Scaling


@dataclass(frozen=True, slots=True)
class Rate:
    """A change of at most `amount` replicas, or percent of them, in `period` seconds."""

    amount: int
    unit: Literal["replicas", "percent"]
    period: float = 15.0  # seconds


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of one direction, at least one, and which counts: that of most change, or least."""

    rates: tuple[Rate, ...]
    select: Literal["max", "min", "disabled"] = "max"


@dataclass(frozen=True, slots=True)
class Behavior:
    """How fast the HPA may go each way; what is left out has the HPA's defaults."""

    scale_up: Rates = Rates((Rate(4, "replicas"), Rate(100, "percent")))
    scale_down: Rates = Rates((Rate(100, "percent"),))


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to assume once the backlog could not be read more than `threshold` times in a row."""

    threshold: int
    replicas: int
    behavior: Literal[
        "static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"
    ] = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How replicas follow a backlog; fields and defaults are KEDA's and the HPA's."""

    target: float  # backlog per replica; counted in thousandths, like a Kubernetes quantity
    min_replicas: int = 0
    max_replicas: int = 100
    activation: float = 0  # KEDA is active while the backlog is above this
    exclude_unacknowledged: bool = False  # True: only ready messages are backlog
    counts_rate: bool = False  # True: messages that come, so many a second, are activity, too
    polling_interval: float = 30.0  # seconds between two looks of KEDA's loop
    cooldown: float = 300.0  # seconds from the last active look until zero
    initial_cooldown: float = 0.0  # the same from the start, when no look was active yet
    clock_resolution: float = 1.0  # seconds; KEDA stores both instants in whole seconds; 0: exact
    idle_replicas: int | None = None  # at rest, though min_replicas is more; KEDA supports 0 only
    sync_interval: float = 15.0  # seconds between two HPA syncs; 0: at every decision
    tolerance: float = 0.1  # no change while the ratio is within 1 ± this
    stabilization_window: float = 300.0  # seconds a higher recommendation holds back scale-in
    scale_up_window: float = 0.0  # seconds a lower recommendation holds back scale-out
    behavior: Behavior | None = None  # None: "behavior nil", where old recommendations scale up
    fallback: Fallback | None = None  # None: an unreadable backlog changes nothing

    @classmethod
    def of(cls, scaling: Scaling, max_replicas: int) -> "Policy":
        """The policy of the local engine: explicit behavior, exact times, a sync at each look.

        `max_replicas` is what the machine has room for, and counts where the scaling names none.
        """
        return cls(
            target=scaling.target,
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas or max_replicas,
            activation=scaling.activation,
            polling_interval=scaling.polling_interval,
            cooldown=scaling.cooldown,
            clock_resolution=0,
            sync_interval=0,
            tolerance=scaling.tolerance,
            stabilization_window=scaling.stabilization_window,
            behavior=Behavior(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is seen of one queue and its replicas at one instant."""

    now: float  # seconds on a clock that never goes back
    ready: int
    unacknowledged: int = 0
    rate: float = 0.0  # messages a second that came lately, whatever has become of them
    replicas: int  # asked for: those starting count, those draining do not
    error: bool = False  # the backlog could not be read, and the two counts above mean nothing
    woken: bool = False  # look now, the poll need not be due: a message came to an empty queue
    paused: bool = False
    paused_scale_in: bool = False
    paused_scale_out: bool = False
    force_activation: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """Replicas at an instant: recommended, or added (removed where negative)."""

    at: float
    replicas: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves for the next; begin with `Memory.start`."""

    created: float
    next_poll: float
    next_sync: float
    last_active: float | None = None  # the last look that found backlog above the activation
    failures: int = 0  # readings that failed in a row
    recommendations: tuple[Sample, ...] = ()
    changes: tuple[Sample, ...] = ()

    @classmethod
    def start(cls, now: float) -> "Memory":
        """Nothing seen yet, and both clocks due at once."""
        return cls(created=now, next_poll=now, next_sync=now)


@dataclass(frozen=True, slots=True)
class Decision:
    """The number of replicas to have, and the sentence that says why."""

    replicas: int
    reason: str


def decide(policy: Policy, observation: Observation, memory: Memory) -> tuple[Decision, Memory]:
    """The replicas to have now.  Call it whenever something may have changed.

    A look or a sync happens only when it is due (`memory.next_poll`, `memory.next_sync`).  Where
    KEDA's part changes the count, the HPA's part waits for the next call.
    """
    now, replicas = observation.now, observation.replicas
    if observation.paused:
        # KEDA deletes the HPA, and looks at once when the pause ends; the cooldown runs on.
        memory = Memory(memory.created, now, now + policy.sync_interval, memory.last_active)
        return Decision(replicas, f"paused at {replicas}"), memory
    polled = synced = None
    if observation.woken or now >= memory.next_poll:
        polled, memory = keda_step(policy, observation, memory)
        if polled and polled.replicas != replicas:
            return polled, memory
    if now >= memory.next_sync:
        synced, memory = hpa_step(policy, observation, memory)
        if synced and synced.replicas != replicas:
            return synced, memory
    wait = _seconds(max(0.0, (memory.next_sync if replicas else memory.next_poll) - now))
    unchanged = Decision(replicas, f"{_state(policy, observation)}, next look in {wait}")
    return polled or synced or unchanged, memory


def keda_step(policy: Policy, seen: Observation, memory: Memory) -> tuple[Decision | None, Memory]:
    """One look of KEDA's loop; no decision where it leaves the count to the HPA."""
    memory = replace(memory, next_poll=seen.now + policy.polling_interval)
    usage, memory = _read(policy, seen, memory)
    active = usage is not None and (seen.error or _is_active(policy, seen))
    if not (active or seen.force_activation):
        return _inactive(policy, seen, memory, usage is None), memory
    awake = replace(memory, last_active=seen.now)
    idles = policy.idle_replicas is not None and seen.replicas < policy.min_replicas
    if seen.replicas == 0 or idles:
        if seen.paused_scale_out:
            return Decision(seen.replicas, f"scale-out is paused at {seen.replicas}"), memory
        return _activate(policy, seen, usage), awake
    # Forced while the backlog cannot be read: KEDA keeps the older instant.
    return None, memory if usage is None else awake


def hpa_step(policy: Policy, seen: Observation, memory: Memory) -> tuple[Decision | None, Memory]:
    """One sync of the HPA; no decision at zero replicas, where the HPA is disabled."""
    now, replicas, most = seen.now, seen.replicas, policy.max_replicas
    first = memory.recommendations or (Sample(now, replicas),)
    memory = replace(memory, next_sync=now + policy.sync_interval, recommendations=first)
    if replicas == 0:
        return None, memory
    if replicas > most:
        decision = Decision(most, f"above max {most}: {replicas} → {most}")
    elif replicas < policy.min_replicas:
        decision = _to_min(policy, seen)
    else:
        usage, memory = _read(policy, seen, memory)
        if usage is None:
            return _frozen(policy, seen, memory), memory
        decision, memory = _follow(policy, seen, memory, usage)
    return decision, _remember_change(policy, seen, memory, decision.replicas)


def _is_active(policy: Policy, seen: Observation) -> bool:
    """KEDA's activity is that of any trigger (its rate's: rabbitmq_scaler.go)."""
    comes = policy.counts_rate and seen.rate > policy.activation
    return comes or _backlog(policy, seen) > policy.activation


def _backlog(policy: Policy, seen: Observation) -> int:
    return seen.ready + (0 if policy.exclude_unacknowledged else seen.unacknowledged)


def _read(policy: Policy, seen: Observation, memory: Memory) -> tuple[int | None, Memory]:
    """The backlog in thousandths, like a Kubernetes quantity; or the fallback's; or None.

    Each failure counts and a success starts over, in looks and syncs alike.
    """
    if not seen.error:
        return _backlog(policy, seen) * 1000, replace(memory, failures=0)
    memory = replace(memory, failures=memory.failures + 1)
    fallback, current = policy.fallback, seen.replicas
    if fallback is None or memory.failures <= fallback.threshold:
        return None, memory
    assumed = {
        "static": fallback.replicas,
        "currentReplicas": current,
        "currentReplicasIfHigher": max(current, fallback.replicas),
        "currentReplicasIfLower": min(current, fallback.replicas),
    }[fallback.behavior]
    return assumed * _target(policy), memory


def _target(policy: Policy) -> int:
    return max(1, round(policy.target * 1000))


def _wish(policy: Policy, seen: Observation, usage: int) -> tuple[int, str]:
    """Replicas that meet the target, whatever the limits, and the arithmetic in words."""
    wanted = -(-usage // _target(policy))
    if seen.error:
        return wanted, f"backlog cannot be read, fallback → {wanted}"
    return wanted, f"backlog {usage // 1000} / target {policy.target:g} → {wanted}"


def _activate(policy: Policy, seen: Observation, usage: int | None) -> Decision:
    first, most = max(policy.min_replicas, 1), policy.max_replicas
    wanted, why = _wish(policy, seen, usage or 0)
    held = f", held to max {most}" if wanted > most else ""
    then = "; next" if min(wanted, most) > first else ":"
    why = "forced" if seen.force_activation else f"{why}{held}"
    if not wanted and not seen.force_activation:
        why = f"{seen.rate:g} a second came, and are gone"
    return Decision(first, f"activation {seen.replicas} → {first}{then} {why}")


def _inactive(policy: Policy, seen: Observation, memory: Memory, failed: bool) -> Decision | None:
    replicas, idle, fallback = seen.replicas, policy.idle_replicas, policy.fallback
    if failed and (fallback is None or fallback.replicas != 0):
        return _frozen(policy, seen, memory)
    if (idle is not None and replicas > idle) or (replicas > 0 and policy.min_replicas == 0):
        return _cool_down(policy, seen, memory)
    if idle is None and replicas < policy.min_replicas:
        return _to_min(policy, seen)
    if replicas == (idle or 0):
        return Decision(replicas, f"{_state(policy, seen)}: rests at {replicas or 'zero'}")
    return None


def _cool_down(policy: Policy, seen: Observation, memory: Memory) -> Decision:
    """To zero, or to the idle count, once the last active look is a cooldown ago."""
    state, unit = _state(policy, seen), policy.clock_resolution
    if seen.paused_scale_in:
        return Decision(seen.replicas, f"{state}, scale-in is paused at {seen.replicas}")
    since, wait = memory.last_active, policy.cooldown
    if since is None:
        since, wait = memory.created, policy.initial_cooldown
    ends = (math.floor(since / unit) * unit if unit else since) + wait
    if ends < seen.now:
        goal = policy.idle_replicas or 0
        return Decision(goal, f"{state} for {_seconds(seen.now - since)}: to {goal or 'zero'}")
    left = _seconds(ends - seen.now)
    return Decision(seen.replicas, f"{state}, waits for cooldown ({left} left)")


def _follow(
    policy: Policy, seen: Observation, memory: Memory, usage: int
) -> tuple[Decision, Memory]:
    """Target and tolerance, then the windows, then rates and bounds."""
    wanted, why = _wish(policy, seen, usage)
    ratio = usage / (_target(policy) * seen.replicas)
    if wanted != seen.replicas and 1 - policy.tolerance <= ratio <= 1 + policy.tolerance:
        wanted, why = seen.replicas, f"{why}, within tolerance of {seen.replicas}"
    steady, held = _steady(policy, seen, memory, wanted)
    final, limited = _limit(policy, seen, memory, steady)
    reason = ", ".join(part for part in (why, held, limited) if part)
    return Decision(final, reason), _remember_wish(policy, seen.now, memory, wanted)


def _behavior(policy: Policy, seen: Observation) -> Behavior | None:
    """As KEDA renders it: a pause disables a direction's rates, and so makes behavior explicit."""
    behavior = policy.behavior
    if seen.paused_scale_out:
        behavior = behavior or Behavior()
        behavior = replace(behavior, scale_up=replace(behavior.scale_up, select="disabled"))
    if seen.paused_scale_in:
        behavior = behavior or Behavior()
        behavior = replace(behavior, scale_down=replace(behavior.scale_down, select="disabled"))
    return behavior


def _steady(policy: Policy, seen: Observation, memory: Memory, wanted: int) -> tuple[int, str]:
    """The recommendation that the windows leave, and what held it."""
    samples, window = memory.recommendations, policy.stabilization_window
    if _behavior(policy, seen) is None:
        recent = [s for s in samples if s.at >= seen.now - window]
        steady = max([wanted, *(s.replicas for s in recent)])
    else:
        recent = [s for s in samples if s.at > seen.now - window]
        lower = [s.replicas for s in samples if s.at > seen.now - policy.scale_up_window]
        raised = max(seen.replicas, min([wanted, *lower]))
        steady = min(raised, max([wanted, *(s.replicas for s in recent)]))
    if steady < wanted:
        return steady, f"scale-out held at {steady} by the scale-up window"
    if steady == wanted:
        return steady, ""
    left = max(s.at for s in recent if s.replicas >= steady) + window - seen.now
    return steady, f"held at {steady} by the stabilization window ({_seconds(left)} left)"


def _limit(policy: Policy, seen: Observation, memory: Memory, steady: int) -> tuple[int, str]:
    """What rates and bounds leave of a steady recommendation, and which of them cut it."""
    most, least = policy.max_replicas, max(policy.min_replicas, 1)
    highest, lowest = max(2 * seen.replicas, 4), 0
    if behavior := _behavior(policy, seen):
        highest = _reach(behavior.scale_up, seen, memory, 1)
        lowest = _reach(behavior.scale_down, seen, memory, -1)
    if steady > most <= highest:
        return most, f"held to max {most}"
    if steady > highest:
        return highest, f"scale-out {'is paused' if seen.paused_scale_out else 'rate'}: {highest}"
    if steady < least >= lowest:
        return least, f"held to min {least}"
    if steady < lowest:
        return lowest, f"scale-in {'is paused' if seen.paused_scale_in else 'rate'}: {lowest}"
    return steady, ""


def _reach(rates: Rates, seen: Observation, memory: Memory, sign: int) -> int:
    """The furthest count that the rates of one direction (1 out, -1 in) allow now."""
    if rates.select == "disabled":
        return seen.replicas
    further, nearer = (max, min) if sign > 0 else (min, max)
    reached = [_one_reach(rate, seen, memory, sign) for rate in rates.rates]
    limit = (further if rates.select == "max" else nearer)(reached)
    return further(limit, seen.replicas)


def _one_reach(rate: Rate, seen: Observation, memory: Memory, sign: int) -> int:
    recent = sum(s.replicas for s in memory.changes if s.at > seen.now - rate.period)
    start = seen.replicas - recent
    if rate.unit == "replicas":
        return start + sign * rate.amount
    share = start * (1 + sign * rate.amount / 100)
    return math.ceil(share) if sign > 0 else int(share)


def _remember_wish(policy: Policy, now: float, memory: Memory, wanted: int) -> Memory:
    """Keep what a window may still ask for; a newer sample stands for older ones it outdoes."""
    kept = tuple(
        s
        for s in memory.recommendations
        if (s.replicas > wanted and s.at >= now - policy.stabilization_window)
        or (s.replicas < wanted and s.at >= now - policy.scale_up_window)
    )
    return replace(memory, recommendations=(*kept, Sample(now, wanted)))


def _remember_change(policy: Policy, seen: Observation, memory: Memory, replicas: int) -> Memory:
    """Note a rescale for the rates of later syncs; behavior nil has none."""
    behavior, change = _behavior(policy, seen), replicas - seen.replicas
    if behavior is None or change == 0:
        return memory
    longest = max(r.period for r in (*behavior.scale_up.rates, *behavior.scale_down.rates))
    kept = tuple(s for s in memory.changes if s.at > seen.now - longest)
    return replace(memory, changes=(*kept, Sample(seen.now, change)))


def _to_min(policy: Policy, seen: Observation) -> Decision:
    least = policy.min_replicas
    return Decision(least, f"below min {least}: {seen.replicas} → {least}")


def _frozen(policy: Policy, seen: Observation, memory: Memory) -> Decision:
    why, fallback = f"backlog cannot be read: stays at {seen.replicas}", policy.fallback
    after = f" (failure {memory.failures}, fallback after {fallback.threshold})" if fallback else ""
    return Decision(seen.replicas, why + after)


def _state(policy: Policy, seen: Observation) -> str:
    backlog = _backlog(policy, seen)
    if seen.error:
        return "backlog cannot be read"
    if 0 < backlog <= policy.activation:
        return f"backlog {backlog} not above activation {policy.activation:g}"
    return f"backlog {backlog}" if backlog else "no backlog"


def _seconds(seconds: float) -> str:
    text = f"{seconds:.1f}".removesuffix(".0") if seconds < 10 else f"{seconds:.0f}"
    return f"{text} s"
