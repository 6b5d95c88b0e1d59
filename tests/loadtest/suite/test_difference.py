"""What changed between two runs: what is called a change, and what is said of the rest."""

from dataclasses import replace

import pytest
from rich.console import Console

from loadtest.suite.change import verdict
from loadtest.suite.difference import Difference, compare
from loadtest.suite.results import Results
from runtime import estimate
from runtime.estimate import Estimate
from tests.loadtest.suite import runs

CASES = (runs.MATMULS[2], runs.VECTOR_ADD)
MATMUL = "matmul bfloat16"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESAMPLES", 300)  # a bootstrap's interval, a little coarser


def made(**options: object) -> Results:
    return runs.made(cases=CASES, **options)


def shown(difference: Difference) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(difference.table())
    return capture.get()


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare(made(), made())
    assert {change.verdict for change in found.changes} == {"within noise", "too few samples"}
    assert (found.warnings, found.facts, found.parities, found.failures) == ((), (), (), ())


def test_two_runs_of_one_machine_differ_by_about_as_much_as_chance_says() -> None:
    found = [compare(made(seed=seed), made(seed=seed + 100)) for seed in range(6)]
    tried = sum(len(one.compared) for one in found)
    called = sum(len(one.of("slower")) + len(one.of("faster")) for one in found)
    assert tried > 150
    assert called / tried < 0.08


def test_a_slower_revision_is_called_slower_and_its_opposite_faster() -> None:
    slow = made(seed=2, slower=1.2)
    work = [c for c in compare(made(), slow).changes if c.subject.kind == "the work itself"]
    assert {change.verdict for change in work} == {"slower"}
    back = [c for c in compare(slow, made()).changes if c.subject.kind == "the work itself"]
    assert {change.verdict for change in back} == {"faster"}
    for change in work:
        assert change.ratio and change.ratio.median == pytest.approx(1.2, rel=0.05)


@pytest.mark.parametrize(
    ("median", "low", "high", "said"),
    [
        (1.10, 1.05, 1.15, "slower"),
        (0.90, 0.85, 0.95, "faster"),
        (1.10, 0.99, 1.20, "within noise"),  # the interval holds 1
        (1.01, 1.005, 1.015, "within noise"),  # beyond chance, and too small to matter
        (0.99, 0.985, 0.995, "within noise"),
        (1.50, None, None, "too few samples"),
    ],
)
def test_only_a_sure_and_sizable_change_is_called_one(
    median: float, low: float | None, high: float | None, said: str
) -> None:
    assert verdict(Estimate(median, low, high, 24, 0.95)) == said


def test_a_ceiling_that_fell_is_slower() -> None:
    before = made()
    fallen = tuple(
        replace(top, rates=tuple(0.5 * rate for rate in top.rates)) for top in before.ceilings
    )
    found = compare(before, replace(before, ceilings=fallen)).of("slower")
    assert {change.subject.kind for change in found} == {"ceiling"}
    assert len(found) == len(before.ceilings)
    assert found[0].ratio and found[0].ratio.median == pytest.approx(2)


def test_slower_copies_show_in_the_times_with_transfers_alone() -> None:
    before = made()
    after = replace(
        before,
        cells=tuple(
            replace(
                cell,
                samples=tuple(replace(s, transfer_in=3 * s.transfer_in) for s in cell.samples),
            )
            for cell in before.cells
        ),
    )
    slower = compare(before, after).of("slower")
    assert slower and {change.subject.kind for change in slower} == {"with transfers"}


def test_another_machine_is_said_first_and_loudly() -> None:
    before = made()
    moved = [(n, "32 of 32" if n == "cores" else v) for n, v in before.machine]
    devices = tuple(replace(d, name="AMD EPYC 7763", threads=32) for d in before.devices[:1])
    after = replace(before, machine=moved, devices=(*devices, before.devices[1]))
    found = compare(before, after)
    assert found.warnings[0].startswith("DIFFERENT MACHINES (cores: 16 of 16 → 32 of 32)")
    assert "Different numbers of threads on the CPU: 16 → 32." in found.warnings
    assert any("DIFFERENT CPUs" in warning for warning in found.warnings)
    page = found.markdown()
    assert page.index("DIFFERENT MACHINES") < page.index("## Every comparison")
    assert "DIFFERENT MACHINES" in shown(found)


def test_a_simulated_gpu_is_never_compared_with_a_real_one() -> None:
    found = compare(made(), made(gpu="simulated"))
    assert any("SIMULATED" in warning for warning in found.warnings)
    gpu = [change for change in found.changes if change.subject.device == "gpu"]
    assert gpu and {change.verdict for change in gpu} == {"not compared"}
    assert gpu[0].why == "not the same: simulated no → yes"
    assert "GPU (simulated)" in found.markdown()


def test_two_simulated_gpus_are_compared_and_labelled() -> None:
    found = compare(made(gpu="simulated"), made(gpu="simulated", seed=5))
    assert any("simulated in both runs" in warning for warning in found.warnings)
    assert not found.of("not compared")


def test_a_gpu_that_only_one_run_has_is_said() -> None:
    found = compare(made(gpu=None), made())
    assert "Only the second run has a GPU: the other has nothing beside it." in found.warnings
    assert found.only_after and {s.device for s in found.only_after} == {"gpu"}
    assert not found.only_before


def test_other_parameters_are_not_compared_and_are_named() -> None:
    before = made()
    first = before.cells[0]
    other = replace(first, parameters={**first.parameters, "dtype": "float16"})
    found = compare(before, replace(before, cells=(other, *before.cells[1:])))
    (unlike,) = found.of("not compared")
    assert unlike.why == "not the same: dtype bfloat16 → float16"


def test_cells_of_one_run_only_are_listed() -> None:
    before, after = runs.made(cases=CASES), runs.made(cases=CASES[:1])
    found = compare(before, after)
    assert {subject.case for subject in found.only_before} == {"vector_add float32"}
    assert "## Only in the first run" in found.markdown()
    assert compare(after, before).only_after == found.only_before


def test_other_plans_quick_looks_and_early_ends_are_said() -> None:
    before = made()
    after = runs.interrupted(replace(before, plan="mine.yaml", quick=True), 3)
    told = " ".join(compare(before, after).warnings)
    assert "Different plans: loadtest/plans/bench.yaml → mine.yaml." in told
    assert "The second run is a quick look, and the other is not." in told
    assert "The second run ended early: Ctrl-C after 61 s." in told


def test_results_that_no_longer_agree_are_told() -> None:
    before = made()
    found = compare(before, runs.parity_failing(before, MATMUL, 256))
    (told,) = found.parities
    assert told.startswith(f"{MATMUL} at 256: held before, fails now: checksum: CPU 15234.25")
    assert "held before, fails now" in found.markdown()
    assert "held before, fails now" in shown(found)
    (back,) = compare(runs.parity_failing(before, MATMUL, 256), before).parities
    assert back == f"{MATMUL} at 256: failed before, holds now"


def test_calls_that_began_to_fail_are_told() -> None:
    before = made()
    found = compare(before, runs.half_failing(before, "matmul", "cpu", "killed"))
    assert len(found.failures) == len(runs.MATMULS[2].sizes)
    assert found.failures[0] == (
        f"{MATMUL} at 64 on the CPU: 0 of 24 calls failed before, 12 of 24 calls failed now"
        " (killed)"
    )


def test_a_case_whose_calls_all_fail_is_not_compared() -> None:
    before = made()
    found = compare(before, runs.all_failing(before, MATMUL, "cpu", "killed"))
    gone = [change for change in found.of("not compared") if change.subject.case == MATMUL]
    assert {change.why for change in gone} == {"no call succeeded after"}
    assert {change.after for change in gone} == {"–"}


def test_too_few_samples_are_never_called_a_change() -> None:
    few = replace(made(samples=5, slower=3), ceilings=())
    found = compare(replace(made(samples=5), ceilings=()), few)
    assert {change.verdict for change in found.changes} == {"too few samples"}
    assert found.caution.startswith("Nothing could be compared with an interval")


def test_the_number_of_comparisons_and_of_false_alarms_is_named() -> None:
    found = compare(made(), made(seed=9))
    tried = len(found.compared)
    assert f"{tried} comparisons with intervals of 95 %" in found.caution
    assert f"about {0.05 * tried:.3g}" in found.caution
    assert "two runs of the same code may differ by more" in found.markdown()


def test_what_differs_of_software_is_listed_and_not_shouted() -> None:
    before = made()
    machine = [(n, "fedcba987654" if n == "revision" else v) for n, v in before.machine]
    found = compare(before, replace(before, machine=machine))
    assert found.facts == (("revision", "0123456789ab", "fedcba987654"),)
    assert found.warnings == ()
    assert "fedcba987654" in found.markdown()


def test_names_are_text_and_not_markup() -> None:
    odd = replace(runs.VECTOR_ADD, case="[red]a|b*")
    found = compare(runs.made(cases=(odd,)), runs.made(cases=(odd,)))
    assert "\\[red\\]a\\|b\\*" in found.markdown()
    assert "[red]a|b*" in shown(found)
