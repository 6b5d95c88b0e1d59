"""What is in a report."""

from dataclasses import replace
from typing import Any

import yaml

from loadtest.outcome import Outcome
from loadtest.report.block import Code, Paragraph, Plot, Report, Section, Terms
from loadtest.report.contents import BOTH_LOOPS, CLOSED_LOOP, OPEN_LOOP, contents
from loadtest.report.summary import Summary
from tests.loadtest import outcomes

MIXED = Summary(outcomes.mixed())


def made(outcome: Outcome) -> Report:
    return contents(MIXED if outcome is MIXED.outcome else Summary(outcome))


def section(outcome: Outcome, title: str) -> Section:
    return next(each for each in made(outcome).sections if each.title == title)


def texts(outcome: Outcome, title: str) -> list[str]:
    return [b.text for b in section(outcome, title).blocks if isinstance(b, Paragraph | Code)]


def with_stages(*stages: dict[str, Any]) -> Outcome:
    return replace(outcomes.brief(), plan={"stages": list(stages)})


def test_how_it_was_measured_depends_on_the_loop() -> None:
    opened, closed = {"kind": "poisson"}, {"kind": "closed"}
    assert OPEN_LOOP in texts(with_stages(opened), "How it was measured")
    told = texts(with_stages(closed), "How it was measured")
    assert CLOSED_LOOP in told and OPEN_LOOP not in told
    told = texts(with_stages(opened, closed), "How it was measured")
    assert OPEN_LOOP in told and BOTH_LOOPS in told


def test_the_plan_comes_back_from_its_yaml_and_the_command_repeats_it() -> None:
    _, plan, _, command = texts(outcomes.mixed(), "The plan, and how to repeat it")
    assert yaml.safe_load(plan) == outcomes.PLAN
    assert command == "lumbre loadtest --plan plan.yaml --url http://127.0.0.1:8080 --seed 7"


def test_a_plan_in_memory_may_hold_tuples() -> None:
    outcome = replace(outcomes.brief(), plan={"rates": (1, 2)})
    assert yaml.safe_load(texts(outcome, "The plan, and how to repeat it")[1]) == {"rates": [1, 2]}


def test_the_command_names_what_is_not_in_the_plan() -> None:
    outcome = replace(outcomes.mixed(), url="https://gpu.example:8080", plan={})
    command = texts(outcome, "The plan, and how to repeat it")[-1]
    assert command.endswith("--seed 7 --allow-remote --slo p99=2s,errors=1%")


def test_faults_are_explained() -> None:
    (terms,) = [b for b in section(outcomes.mixed(), "Faults").blocks if isinstance(b, Terms)]
    assert [name for name, _ in terms.items] == ["failed", "timed_out", "refused"]
    assert all(text.endswith(".") for _, text in terms.items)


def test_plots_are_only_of_what_was_measured() -> None:
    def plots(outcome: Outcome) -> list[str]:
        report = made(outcome)
        return [b.name for s in report.sections for b in s.blocks if isinstance(b, Plot)]

    assert plots(outcomes.mixed()) == [
        *("latency", "histogram", "where", "throughput", "replicas", "colds"),
    ]
    assert plots(outcomes.unanswered()) == ["throughput"]
    assert plots(outcomes.empty()) == []


def test_a_simulated_gpu_is_said_in_the_lead() -> None:
    assert any("The GPU was simulated" in p.text for p in made(outcomes.mixed()).lead)
    real = made(outcomes.mixed(simulated=False))
    assert not any("simulated" in p.text for p in real.lead)
