"""A question about another policy is answered in a process of its own, and alike in this one."""

import subprocess
import sys
from dataclasses import asdict, replace

import orjson
import pytest

from autoscaler.replay import Question, answer, ask
from runtime.errors import ConfigurationError
from runtime.function import Scaling
from tests.support import ROOT

TIMINGS = '{"queue":0.0,"start":1.0,"run":3.0}'
QUESTION = Question(
    function="matmul",
    device="gpu",
    since=1000.0,
    until=1600.0,
    calls=[(1100.0 + n, TIMINGS, not n) for n in range(20)],
    starts=[1.0],
    ready=0,
    engine="local",
    most=4,
    scaling=asdict(Scaling(target=4)),
    other=asdict(Scaling(target=1, min_replicas=2)),
)


def test_the_process_gives_the_answer_of_the_function() -> None:
    command = [sys.executable, "-m", "autoscaler.replay"]
    done = subprocess.run(command, input=ask(QUESTION), cwd=ROOT, capture_output=True, check=True)
    assert orjson.loads(done.stdout) == orjson.loads(orjson.dumps(answer(QUESTION)))


def test_another_policy_is_beside_the_one_there_was() -> None:
    told = answer(QUESTION)
    assert told["recorded"]["total"]["p50"] == 4.0
    assert told["changed"]["total"]["p95"] < told["as_it_is"]["total"]["p95"]
    assert (
        told["changed"]["replica_seconds"]["total"] > told["as_it_is"]["replica_seconds"]["total"]
    )
    # The time that is told begins where the question's does: nobody came for the first 100 s.
    first = [point for point in told["as_it_is"]["timeline"] if point["at"] < 95]
    assert len(first) == 19 and not any(point["busy"] for point in first)


def test_what_was_there_at_the_beginning_is_kept_until_its_cooldown_is_over() -> None:
    told = answer(replace(QUESTION, ready=3))["as_it_is"]["timeline"]
    there = {point["at"]: point["idle"] for point in told}
    assert there[0] == 3 and there[90] == 0


def test_nothing_that_ran_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none of 1 invocations"):
        answer(replace(QUESTION, calls=[(1100.0, None, False)]))
    command = [sys.executable, "-m", "autoscaler.replay"]
    given = ask(replace(QUESTION, calls=[]))
    done = subprocess.run(command, input=given, cwd=ROOT, capture_output=True, check=True)
    assert "ran to an end" in orjson.loads(done.stdout)["error"]
