"""Replicas of the rendered YAML: read back, replayed as measured, and never taken from busy work.

The world below is small: a queue, workers that hold a message each, RabbitMQ's statistics that lag,
and a Kubernetes that picks the busiest pod to remove.  KEDA and the HPA in it are `decide`, which
test_policy.py holds to what the real ones did, under the policy that is read from the YAML.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.document import as_yaml
from autoscaler.keda import DEFAULT_MOST, scaled_object
from autoscaler.policy import Behavior, Fallback, Memory, Observation, Policy, decide
from autoscaler.rendered import HPA_SYNC, policy_of
from autoscaler.trigger import push_trigger
from runtime.errors import ConfigurationError
from runtime.function import Scaling
from tests.autoscaler.test_policy import SYNC, TIMELINES, Timeline, replay
from tests.specs import scalings, shipped

quick = settings(deadline=None, max_examples=60)  # a busy machine is no failure
LAG = 5.0  # seconds between two of RabbitMQ's statistics (collect_statistics_interval)


def read_back(made: dict[str, Any]) -> Policy:
    """The policy of an object that went through YAML, as Kubernetes gets it."""
    return policy_of(yaml.safe_load(as_yaml(made)))


def meant(scaling: Scaling, most: int) -> Policy:
    """The policy of the local engine, in whole seconds, at the HPA's times, and with a fallback."""
    seconds = max(1, math.ceil(scaling.polling_interval))
    return replace(
        Policy.of(scaling, max(most, scaling.min_replicas)),
        polling_interval=seconds,
        cooldown=math.ceil(scaling.cooldown),
        stabilization_window=min(3600, math.ceil(scaling.stabilization_window)),
        sync_interval=HPA_SYNC,
        clock_resolution=1.0,
        counts_rate=True,
        fallback=Fallback(
            max(3, math.ceil(min(60, scaling.cooldown / 2) / seconds)),
            max(1, scaling.min_replicas),
            "currentReplicasIfHigher",
        ),
    )


@quick
@given(scalings(), st.integers(1, 8))
def test_the_yaml_says_the_policy_that_is_meant(scaling: Scaling, most: int) -> None:
    assert read_back(scaled_object("f", "gpu", scaling, most)) == meant(scaling, most)
    pushed = push_trigger("f", "gpu", scaling, address="gateway:6000")
    made = scaled_object("f", "gpu", scaling, most, trigger=pushed)
    assert read_back(made) == meant(scaling, most)


def test_the_shipped_functions_scale_on_a_cluster_as_they_say() -> None:
    found = {
        (spec.name, device): read_back(scaled_object(spec.name, device, spec.scaling[device]))
        for spec in shipped()
        for device in spec.devices
    }
    assert len(found) == 8
    for spec in shipped():
        for device in spec.devices:
            assert found[spec.name, device] == meant(spec.scaling[device], DEFAULT_MOST)


# What stands in no YAML of ours, but may in another's.

QUEUE = {"protocol": "http", "queueName": "matmul.gpu", "mode": "QueueLength", "value": "5"}


def by_hand(**spec: Any) -> dict[str, Any]:
    """A ScaledObject that somebody wrote, with KEDA's defaults for what is left out."""
    metadata = QUEUE | spec.pop("metadata", {})
    trigger = {
        "type": "rabbitmq",
        "metadata": metadata,
        "authenticationRef": {"name": "lumbre-rabbitmq"},
    }
    return {
        "kind": "ScaledObject",
        "metadata": {"name": "matmul-gpu"},
        "spec": {"scaleTargetRef": {"name": "matmul-gpu"}, "triggers": [trigger]} | spec,
    }


def hpa(**behavior: Any) -> dict[str, Any]:
    return {"horizontalPodAutoscalerConfig": {"behavior": behavior}}


def test_what_is_left_out_is_as_kedas_and_the_hpas_defaults_have_it() -> None:
    assert policy_of(by_hand()) == Policy(target=5)  # whose defaults are these, behavior nil too
    assert policy_of(by_hand(advanced=hpa())) == Policy(target=5, behavior=Behavior())
    partly = hpa(scaleDown={"selectPolicy": "Disabled"}, scaleUp={"stabilizationWindowSeconds": 7})
    found = policy_of(by_hand(advanced=partly))
    assert found.behavior is not None
    assert found.behavior.scale_down == replace(Behavior().scale_down, select="disabled")
    assert (found.scale_up_window, found.stabilization_window) == (7, 300)
    assert policy_of(by_hand(fallback={"failureThreshold": 2, "replicas": 6})).fallback == Fallback(
        2, 6, "static"
    )


def test_a_tolerance_is_read_as_the_api_server_writes_it() -> None:
    both = hpa(scaleUp={"tolerance": "50m"}, scaleDown={"tolerance": "0.05"})
    assert policy_of(by_hand(advanced=both)).tolerance == pytest.approx(0.05)
    with pytest.raises(ConfigurationError, match="differ in their tolerance"):
        policy_of(by_hand(advanced=hpa(scaleUp={"tolerance": "0.05"})))


def test_what_no_policy_says_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="matmul-gpu is a ScaledJob"):
        policy_of(by_hand() | {"kind": "ScaledJob"})
    with pytest.raises(ConfigurationError, match="has 0 triggers"):
        policy_of(by_hand(triggers=[]))
    rate = {"type": "rabbitmq", "authenticationRef": {"name": "lumbre-rabbitmq"}}
    told = {"metadata": QUEUE | {"mode": "MessageRate", "value": "1000000"}}
    (backlog,) = by_hand()["spec"]["triggers"]
    assert policy_of(by_hand(triggers=[backlog, rate | told])).counts_rate
    with pytest.raises(ConfigurationError, match="has 3 triggers"):
        policy_of(by_hand(triggers=[backlog, rate | told, rate | told]))
    with pytest.raises(ConfigurationError, match="its triggers differ in queueName"):
        other = {"metadata": told["metadata"] | {"queueName": "g.cpu"}}
        policy_of(by_hand(triggers=[backlog, rate | other]))
    with pytest.raises(ConfigurationError, match='write "1000000": how many replicas'):
        policy_of(
            by_hand(
                triggers=[
                    backlog,
                    rate | {"metadata": told["metadata"] | QUEUE | {"mode": "MessageRate"}},
                ]
            )
        )
    with pytest.raises(ConfigurationError, match="beside the queue's length it can be MessageRate"):
        policy_of(by_hand(triggers=[backlog, backlog]))
    with pytest.raises(ConfigurationError, match="protocol is amqp"):
        policy_of(by_hand(metadata={"protocol": "amqp"}))
    with pytest.raises(ConfigurationError, match="scalingModifiers"):
        fallback = {"failureThreshold": 1, "replicas": 1, "behavior": "scalingModifiers"}
        policy_of(by_hand(fallback=fallback))


# What the real KEDA did with such YAML (tests/autoscaler/test_policy.py has the numbers).

FAST = {"pollingInterval": 1, "cooldownPeriod": 5, "maxReplicaCount": 8}
NO_WINDOW = {"stabilizationWindowSeconds": 0}
PODS_8 = {"policies": [{"type": "Pods", "value": 8, "periodSeconds": 15}]}
OBJECTS = {
    "default": by_hand(**FAST),
    "default, other phases": by_hand(**FAST),
    "behavior": by_hand(**FAST, advanced=hpa(scaleUp=PODS_8, scaleDown=NO_WINDOW)),
    "stabilized": by_hand(**FAST),
    "tolerance": by_hand(**FAST | {"maxReplicaCount": 20}, advanced=hpa(scaleDown=NO_WINDOW)),
    "unacknowledged, http": by_hand(**FAST),
    "activation": by_hand(**FAST, metadata={"activationValue": "10"}),
    "idle": by_hand(**FAST, minReplicaCount=2, idleReplicaCount=0),
    "min 2": by_hand(**FAST, minReplicaCount=2),
    "fallback": by_hand(**FAST, fallback={"failureThreshold": 3, "replicas": 6}),
    "no fallback, queue deleted": by_hand(**FAST),
    "fallback, broker down, http": by_hand(
        **FAST, fallback={"failureThreshold": 3, "replicas": 6, "behavior": "static"}
    ),
    "queue missing at first": by_hand(**FAST),
    "initial cooldown 15": by_hand(**FAST, initialCooldownPeriod=15),
    "real consumers": by_hand(**FAST),
}
# Not among them: what is refused (amqp, excluded), and what annotations do.


@pytest.mark.parametrize(
    "timeline", [t for t in TIMELINES if t.name in OBJECTS], ids=lambda t: t.name
)
def test_a_measured_timeline_happens_again_from_its_yaml(timeline: Timeline) -> None:
    text = yaml.safe_dump(OBJECTS[timeline.name])
    policy = policy_of(yaml.safe_load(text), sync_interval=SYNC)
    # What amqp saw: these traces have nothing unacknowledged, or say so in their names.
    assert replace(policy, exclude_unacknowledged=timeline.policy.exclude_unacknowledged) == (
        timeline.policy
    )
    did = [change for change, _ in replay(replace(timeline, policy=policy))]
    assert [replicas for replicas, _ in did] == [replicas for replicas, _ in timeline.did]
    for (_, at), (_, measured_at) in zip(did, timeline.did, strict=True):
        assert at == pytest.approx(measured_at, abs=1.0)


def test_every_object_is_one_of_a_measured_timeline() -> None:
    assert OBJECTS.keys() <= {timeline.name for timeline in TIMELINES}


# Whatever arrives, however long it takes, whichever pod Kubernetes picks.


@dataclass
class World:
    """A queue and its workers, second by second; each worker holds one message."""

    policy: Policy
    run: float  # seconds that a message takes
    now: float = 0.0
    replicas: int = 0  # asked for: those that drain are not among them
    ready: int = 0
    busy: list[float] = field(default_factory=list)  # since when, of workers that are asked for
    draining: list[float] = field(default_factory=list)
    shown: tuple[int, int] = (0, 0)  # ready and unacknowledged, as the management API tells them
    rate: float = 0.0  # messages a second, as it tells them
    came: int = 0
    counted: int = 0  # of them, at its last statistics
    memory: Memory = field(default_factory=lambda: Memory.start(0))

    @property
    def unacknowledged(self) -> int:
        return len(self.busy) + len(self.draining)

    def step(
        self, arrivals: int = 0, *, error: bool = False, forgotten: bool = False
    ) -> tuple[int, int]:
        """One second; replicas before and after what KEDA and the HPA then decide.

        `error`: the management API is away; `forgotten`: the broker has no statistics yet.
        """
        self.now += 1
        self.ready += arrivals
        self.came += arrivals
        self._finish()
        self._take()
        if forgotten:
            self.shown, self.rate = (0, 0), 0.0
        elif self.now % LAG == 0:
            self.shown = (self.ready, self.unacknowledged)
            self.rate, self.counted = (self.came - self.counted) / LAG, self.came
        before = self.replicas
        self._decide(error)
        while len(self.busy) > self.replicas:  # it picks a busy one, where it could pick another
            self.draining.append(self.busy.pop())
        return before, self.replicas

    def oldest(self) -> float:
        """Seconds that the longest of what runs has run."""
        return max((self.now - since for since in (*self.busy, *self.draining)), default=0.0)

    def _decide(self, error: bool) -> None:
        ready, unacknowledged = self.shown
        for _ in range(2):  # where KEDA's part changes the count, the HPA's waits for the next call
            observation = Observation(
                now=self.now,
                ready=ready,
                unacknowledged=unacknowledged,
                rate=self.rate,
                replicas=self.replicas,
                error=error,
            )
            decision, self.memory = decide(self.policy, observation, self.memory)
            self.replicas = decision.replicas

    def _finish(self) -> None:
        self.busy = [since for since in self.busy if self.now - since < self.run]
        self.draining = [since for since in self.draining if self.now - since < self.run]

    def _take(self) -> None:
        taken = min(self.ready, self.replicas - len(self.busy))
        self.ready -= taken
        self.busy += [self.now] * taken


def of_yaml(scaling: Scaling, **world: Any) -> World:
    policy = read_back(scaled_object("f", "gpu", scaling, 4))
    return World(policy, replicas=policy.min_replicas, **world)


traces = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 3, 30]),  # arrivals
        st.sampled_from([2, 40, 150]),  # seconds until the next: some outlast a fallback
        st.booleans(),  # whether the management API is away for as long
    ),
    min_size=2,
    max_size=6,
)


def hasty() -> st.SearchStrategy[Scaling]:
    """Scalings whose times are shorter than what runs, so that much happens in a trace."""
    return st.builds(
        replace,
        scalings(),
        min_replicas=st.sampled_from([0, 0, 1]),
        max_replicas=st.sampled_from([None, 2, 9]),
        cooldown=st.sampled_from([0.0, 5.0, 30.0]),
        stabilization_window=st.sampled_from([0.0, 20.0, 60.0]),
        polling_interval=st.sampled_from([1.0, 2.0, 7.0]),
        target=st.sampled_from([0.5, 1.0, 4.0]),
    )


runs = st.sampled_from([1.0, 200.0])
Trace = list[tuple[int, int, bool]]


def lived(world: World, trace: Trace) -> Any:
    """Every second of a trace: the world, the replicas before and after, whether it was blind."""
    for arrivals, seconds, blind in trace:
        for second in range(seconds + 1):
            before, after = world.step(0 if second else arrivals, error=blind)
            yield before, after, blind


@quick
@given(hasty(), runs, traces)
def test_replicas_always_stay_within_what_the_yaml_says(
    scaling: Scaling, run: float, trace: Trace
) -> None:
    world = of_yaml(scaling, run=run)
    least, most = world.policy.min_replicas, world.policy.max_replicas
    for _, after, _ in lived(world, trace):
        assert least <= after <= most


@quick
@given(hasty(), runs, traces)
def test_no_queue_goes_to_zero_while_something_unacknowledged_shows(
    scaling: Scaling, run: float, trace: Trace
) -> None:
    """What RabbitMQ shows is up to LAG old: a message that was just taken may not show yet.

    The worker that holds it then drains, and the queue wakes again for others.
    """
    world = of_yaml(replace(scaling, activation=0), run=run)
    for before, after, blind in lived(world, trace):
        if before and not after:
            assert not blind
            assert world.shown == (0, 0)
            assert world.oldest() <= LAG


@quick
@given(hasty(), st.integers(1, int(LAG) - 1))
def test_no_replica_goes_while_messages_come_that_no_statistics_ever_show(
    scaling: Scaling, second: int
) -> None:
    """One in five seconds, that runs for one of them: the queue is empty whenever it is counted."""
    world = of_yaml(replace(scaling, activation=0), run=1.0)
    waited = int(max(2 * LAG, 3 * scaling.polling_interval))
    for now in range(1, waited + 200):
        world.step(int(now % LAG == second))
        if now > waited:
            assert world.shown == (0, 0)
            assert world.replicas >= 1
    after = waited + int(scaling.cooldown + scaling.polling_interval + 3 * LAG)
    for _ in range(after + 1):
        world.step()
    assert world.replicas == world.policy.min_replicas, "and it goes once they no longer come"


@quick
@given(hasty(), runs, traces)
def test_a_management_api_that_cannot_be_read_never_scales_in(
    scaling: Scaling, run: float, trace: Trace
) -> None:
    for before, after, blind in lived(of_yaml(scaling, run=run), trace):
        assert after >= before or not blind


@quick
@given(hasty(), runs, traces)
def test_a_target_of_one_never_has_fewer_replicas_than_busy_workers_show(
    scaling: Scaling, run: float, trace: Trace
) -> None:
    """With a greater target some busy worker may be taken, and drains (see deploy.ladder)."""
    world = of_yaml(replace(scaling, target=1, tolerance=0, activation=0), run=run)
    for before, after, _ in lived(world, trace):
        if after < before:
            assert after >= min(sum(world.shown), before)


@quick
@given(hasty(), traces)
def test_an_empty_queue_always_comes_to_rest(scaling: Scaling, trace: Trace) -> None:
    world = of_yaml(scaling, run=1.0)
    for _ in lived(world, trace):
        pass
    world.ready, world.busy, world.draining = 0, [], []
    policy = world.policy
    rest = policy.cooldown + policy.polling_interval + LAG
    if policy.min_replicas:  # zero is KEDA's, which no window holds; the HPA comes to min
        rest = policy.stabilization_window + policy.sync_interval + LAG
    for _ in range(math.ceil(rest) + 3):
        world.step()
    assert world.replicas == policy.min_replicas


@quick
@given(
    st.sampled_from([30.0, 60.0, 300.0]),  # cooldown
    st.sampled_from([1.0, 2.0]),  # polling interval
    st.integers(1, 6),  # messages that run
    st.integers(0, 200),  # seconds that RabbitMQ is away
    st.integers(0, 10),  # seconds that its statistics then read zero
    st.integers(0, 15),  # the phase of all that
)
def test_a_broker_that_restarts_never_costs_busy_workers_their_place(
    cooldown: float, polling: float, messages: int, away: int, blank: int, phase: int
) -> None:
    scaling = Scaling(
        target=1, cooldown=cooldown, polling_interval=polling, stabilization_window=60
    )
    world = of_yaml(scaling, run=10_000)
    world.step(messages)
    for _ in range(100 + phase):
        world.step()
    busy = len(world.busy)
    for _ in range(away):
        world.step(error=True)
    for _ in range(blank):
        world.step(forgotten=True)
    for _ in range(60):
        world.step()
    assert (len(world.busy), world.draining) == (busy, [])


def test_work_that_is_longer_than_every_window_keeps_its_worker() -> None:
    world = of_yaml(Scaling(cooldown=10, stabilization_window=0, target=1), run=600)
    world.step(3)
    for _ in range(550):
        world.step()
    assert (world.replicas, len(world.busy), world.draining) == (3, 3, [])
    for _ in range(100):
        world.step()
    assert world.replicas == 0
