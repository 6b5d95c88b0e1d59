"""docs/benchmark-method.md says what the code does: its tables, its numbers and its formulas."""

import importlib
import math
import random
import re
import statistics
from pathlib import Path
from typing import Any, get_args

import pytest

from loadtest import (
    answer,
    bottleneck,
    client,
    faults,
    latencies,
    observer,
    pool,
    slo,
    stage,
    tally,
)
from loadtest.address import Address
from loadtest.arrivals import Piece, times
from loadtest.budgets import generator, pace
from loadtest.budgets.delayed import DELAY
from loadtest.latencies import Latencies
from loadtest.plan import Plan, simple
from loadtest.report import step
from loadtest.suite import block, caller, ceilings, change, choice, event, machine, trial
from loadtest.suite.plan import BENCH, CaseModel, Effort, Rule, read_plan
from loadtest.suite.subject import Place
from runtime.estimate import RESAMPLES, Estimate, estimate
from tests.support import ROOT, Page

METHOD, GUIDE = Page("benchmark-method.md"), Page("user-guide.md")
WORDS = " ".join(METHOD.text.split()).replace("**", "")
BENCHMARKS = read_plan(BENCH)


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# ── the load test ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("page", "heading"), [(METHOD, "kind"), (GUIDE, "stage")])
def test_every_kind_of_stage_is_there(page: Page, heading: str) -> None:
    assert [names(row[0]) for row in page.table(heading)] == [[kind] for kind in stage.KINDS]


def test_kinds_that_wait_for_answers_are_called_closed_and_no_others() -> None:
    open_kinds = {kind.model_fields["kind"].default for kind in get_args(stage.OpenStage)}
    assert {
        name for kind, loop, _ in METHOD.table("kind") for name in names(kind) if loop == "open"
    } == open_kinds


def test_the_inverse_of_a_ramp_is_the_one_of_the_page() -> None:
    assert "Λ⁻¹(c) = 2c ÷ (a + √(a² + 2 s c))" in WORDS
    a, b, seconds = 3.0, 17.0, 5.0
    slope = (b - a) / seconds
    for count in (0.5, 10.0, 49.0):
        at = Piece(seconds, a, b).when(count)
        assert at == pytest.approx(2 * count / (a + math.sqrt(a**2 + 2 * slope * count)))
        assert a * at + slope * at**2 / 2 == pytest.approx(count)


def test_even_and_random_times_are_those_of_the_page() -> None:
    constant, poisson = (
        {"rate": 8, "seconds": 1, "kind": kind} for kind in ("constant", "poisson")
    )
    even = list(times(stage.Constant.model_validate(constant), random.Random(1)))
    assert even == [k / 8 for k in range(8)]
    found = list(times(stage.Poisson.model_validate(poisson), random.Random(1)))
    rng, sums = random.Random(1), [0.0]
    while sums[-1] < 8:
        sums.append(sums[-1] + rng.expovariate(1))
    assert found == pytest.approx([each / 8 for each in sums[1:-1]])


def test_every_fault_is_there_and_no_other() -> None:
    told = [name for row in METHOD.table("at fault") for name in names(row[2])]
    assert sorted(told) == sorted(faults.EXPLANATIONS)


def test_faults_are_told_apart_as_the_page_says() -> None:
    rows = {row[0]: names(row[2]) for row in METHOD.table("at fault")}
    assert rows["the function"] == list(faults.OUTCOMES.values())

    def of(status: int) -> str:
        return faults.of_answer(answer.Answer(status, {}, b""))

    assert rows["the request"] == [of(404), of(422), of(400)]
    assert rows["the server"] == [of(503), of(500), of(429)]


def test_a_percentile_is_the_rank_of_the_page() -> None:
    assert "the ⌈p n ÷ 100⌉-th from the least" in WORDS
    found = Latencies()
    for milliseconds in range(1, 100):
        found.record(milliseconds / 1000)
    for percent in (1, 34, 50, 98.9, 99):
        rank = math.ceil(percent * 99 / 100)
        assert rank / 1000 <= found.percentile(percent) <= rank / 1000 * 1.001


def test_goals_are_those_of_the_slo() -> None:
    for row in METHOD.table("goal"):
        for goal in (text for text in names(row[0]) if "=" in text):
            (parsed,) = slo.parse(goal)
            assert (parsed.measure == "throughput") == (row[2] == "≥")
    assert "5,000 are asked for" in WORDS


# ── the suite ─────────────────────────────────────────────────────────────────────────────────


def test_the_effort_is_the_plans_full_and_quick() -> None:
    full, quick = BENCHMARKS.effort(quick=False), BENCHMARKS.effort(quick=True)
    told = {names(row[0])[0]: (float(row[1]), float(row[2])) for row in METHOD.table("field")}
    assert told == {name: (getattr(full, name), getattr(quick, name)) for name in told}
    assert told.keys() == Effort.model_fields.keys()


def test_work_is_the_plans() -> None:
    told = {
        names(case)[0]: (amount, unit, names(ceiling)[0])
        for case, amount, unit, ceiling in _rows("case", "one piece of work")
    }
    known = {
        case.case: (case.work.amount, case.work.unit, case.work.ceiling)
        for case in BENCHMARKS.cases
        if case.work
    }
    assert told == known


def test_rules_of_parity_are_the_plans() -> None:
    told = {names(case)[0]: rules for case, rules in _rows("case", "rules")}
    assert told == {case.case: _rules(case) for case in BENCHMARKS.cases}


def _rules(case: CaseModel) -> str:
    return "; ".join(map(_rule, case.parity))


def _rule(rule: Rule) -> str:
    if rule.tolerance is not None:
        return f"`{rule.field}`: apart ≤ {rule.tolerance}"
    return f"`{rule.field}`: each ≤ {rule.at_most}"


def _rows(*head: str) -> list[list[str]]:
    """The table whose first columns have these headings."""
    start = METHOD.text.index("\n| " + " | ".join(head))
    lines = METHOD.text[start + 1 :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_seconds_of_every_shipped_function_are_told_of() -> None:
    told = [name for row in METHOD.table("function") for name in names(row[0])]
    assert set(told) == {case.function for case in BENCHMARKS.cases}


def test_every_ceiling_is_there_for_the_devices_that_have_it() -> None:
    told: dict[str, set[str]] = {"CPU": set(), "GPU": set()}
    for ceiling, devices, _ in METHOD.table("ceiling"):
        for device in devices.split(", "):
            told[device] |= set(names(ceiling))
    cpu = Place("cpu", None, False, 1, 1, 1)
    gpu = Place("gpu", "0", False, 1, 1, 1)
    assert told == {"CPU": set(ceilings.names(cpu)), "GPU": set(ceilings.names(gpu))}


def test_every_event_is_there_with_what_it_has() -> None:
    known = dict(re.findall(r"^- (\w+): (.*)$", event.__doc__ or "", re.MULTILINE))
    assert known
    assert {names(row[0])[0]: row[1] for row in METHOD.table("event")} == known


def test_the_interval_of_the_page_is_the_one_that_is_computed() -> None:
    for n in range(1, 60):
        found = estimate([float(rank) for rank in range(1, n + 1)])
        ks = [k for k in range(1, n // 2 + 1) if _below(n, k) <= (1 - found.confidence) / 2 + 1e-15]
        assert found.low == (max(ks) if ks else None)
    assert "At 95 % it needs 6 samples" in WORDS
    assert estimate([1.0] * 5).low is None
    assert f"its confidence {100 * (1 - 2 * _below(7, 1)):.1f} %" in WORDS


def _below(n: int, k: int) -> float:
    """That a binomial (n, ½) variable is below k."""
    return sum(math.comb(n, i) for i in range(k)) / float(2**n)


def test_stopping_at_a_narrow_interval_costs_as_much_confidence_as_the_page_says() -> None:
    """The rule of a cell, on lognormal times whose true median is 1."""
    assert "held the true median in 93.7 % of cells at the worst" in WORDS
    effort = BENCHMARKS.effort(quick=False)
    for sigma, about in ((0.07, 0.937), (0.01, 0.984)):
        rng = random.Random(f"{sigma}")
        held = [_holds(_until_narrow(sigma, rng, effort)) for _ in range(1200)]
        assert statistics.fmean(held) == pytest.approx(about, abs=0.021)  # three standard errors


def _until_narrow(sigma: float, rng: random.Random, effort: Effort) -> Estimate:
    values: list[float] = []
    while True:
        values.append(rng.lognormvariate(0, sigma))
        if len(values) >= effort.least:
            found = estimate(values, effort.confidence)
            narrow = found.spread is not None and found.spread <= effort.precision
            if narrow or len(values) >= effort.most:
                return found


def _holds(found: Estimate) -> bool:
    assert found.low is not None and found.high is not None
    return found.low <= 1 <= found.high


# ── numbers in the text ───────────────────────────────────────────────────────────────────────


def _default(name: str) -> Any:
    return Plan.model_fields[name].default


CEILING = (ROOT / "loadtest/suite/functions/suite_ceiling.py").read_text()


@pytest.mark.parametrize(
    "sentence",
    [
        f"`connections`, {_default('connections')} if it says nothing",
        f"up to `retries` times, {_default('retries')} if the plan does not say",
        f"`timeout` seconds ({_default('timeout')}) after it was sent",
        f"given up, within {1000 * pool.SWEEP:.0f} ms",
        f"Making a connection may take {pool.CONNECT:.0f} seconds",
        f"closed after {pool.REST:.0f} seconds without use",
        f"after {1000 * pool.FIRST_PAUSE:.0f} ms, {2000 * pool.FIRST_PAUSE:.0f} ms, …"
        f" {pool.LONGEST_PAUSE:.0f} s",
        f"({client.SHORTEST_SILENCE:.0f} at least, {client.LONGEST_SILENCE:.0f} at most)",
        f"or {client.GRACE:.0f} after Ctrl-C",
        f"({answer.RETRY_AFTER:.0f} second where it does not",
        f"from {latencies.SHORTEST} µs to {latencies.LONGEST / 3.6e9:.0f} hour with"
        f" {latencies.DIGITS} significant digits",
        f"at most {round(100 / 2 ** (tally.STEPS - 1), 1)} % of itself",
        f"({tally.MOST_COLDS:,} at most)",
        f"more than {step.MOST} seconds",
        f"used {100 * bottleneck.BUSY:.0f} % of a core or more",
        f"more than {1000 * bottleneck.LATE:.0f} ms late",
        f"`GET /decisions`, {observer.MOST_DECISIONS:,} at most",
        f"drawn again with replacement {RESAMPLES:,} times",
        f"{1000 * caller.SETTLE:.0f} ms lie between calls on two devices",
        f"once they took {100 * trial.WARMING:.0f} % of `limit`",
        f"{trial.FAILURES_IN_A_ROW} failures in a row",
        f"{100 * block.TELLING:.0f} % of that",
        f"as far as {ceilings.SECONDS:.0f} s allow",
        f"above {ceilings.DRIFT} times the other",
        f"differs by more than {100 * change.THRESHOLD:.0f} %",
        f"A load above {machine.BUSY} before the run",
        f"answers after {1000 * DELAY:.0f} ms at next to no cost",
        f"within {generator.APART:.0f} % of wrk's",
    ],
)
def test_a_number_of_the_text_is_that_of_the_code(sentence: str) -> None:
    assert sentence in WORDS


def test_numbers_that_are_written_as_words_are_those_of_the_code() -> None:
    assert (trial.LONGER, choice.TRIED, trial.CALLS_TO_JUDGE) == (3, 3, 10)
    assert (pace.FULL.rounds, pace.FULL.seconds) == (5, 3.0)
    assert observer.EVERY == 1.0
    assert "DISCARDED, REPEATED = 3, 10\n" in CEILING
    assert "SMALLEST, LARGEST = 1024, 16384 " in CEILING


async def test_a_silence_is_as_long_as_the_timeout_within_its_bounds() -> None:
    assert "as many seconds of failures as the timeout is long" in WORDS
    address = Address("127.0.0.1", 1, "localhost", "localhost", "http://localhost")
    for timeout, silence in ((1, client.SHORTEST_SILENCE), (12, 12), (99, client.LONGEST_SILENCE)):
        plan = simple("matmul").model_copy(update={"timeout": timeout})
        made = client.Client(plan, address, Path())
        assert made._silence == silence
        made.timers.close()
        await made.pool.close()


# ── what the page points at ───────────────────────────────────────────────────────────────────


def test_files_that_the_page_names_are_there() -> None:
    found = {
        path
        for text in names(METHOD.text)
        for path in re.findall(r"^(?:loadtest|runtime|tests|functions)/[\w/.]+\.\w+", text)
    }
    assert len(found) > 15
    assert not [path for path in sorted(found) if not (ROOT / path).is_file()]


def test_programs_that_the_page_names_can_be_called() -> None:
    for dotted in re.findall(r"`(loadtest[\w.]+)(?:\([\w, ]*\))?`", METHOD.text):
        module, _, name = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), name), dotted


@pytest.mark.parametrize("page", ["benchmark-method.md", "architecture.md", "benchmarks.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = Page(page).prose()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        file = (ROOT / "docs" / target) if target else ROOT / "docs" / page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), f"{target}#{anchor}"


def _anchors(file: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}
