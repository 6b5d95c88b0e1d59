"""GPU beside CPU, from the histograms of a load test."""

import io

from rich.console import Console

from loadtest.demo.speedup import pairs, table
from loadtest.latencies import Latencies
from loadtest.outcome import Generator, Group, Outcome


def group(function: str, device: str, run: float, count: int, *, simulated: bool = False) -> Group:
    histogram = Latencies()
    for _ in range(count):
        histogram.record(run)
    phases = {"run": histogram.encode(), "total": histogram.encode()}
    return Group(function, device, simulated, "succeeded", count, phases)


def outcome(*groups: Group) -> Outcome:
    generator = Generator(1, 0.1, 0.0, 0, ())
    nothing: tuple[()] = ()
    return Outcome(
        plan={}, url="http://127.0.0.1:1", seed=1, began_at="", seconds=1.0, interrupted=None,
        machine=[], node=[], groups=groups, series=nothing, observed=nothing, decided=nothing,
        colds=nothing, faults=nothing, generator=generator, throttled=0, unanswered=0,
        objectives=nothing, audit=None,
    )  # fmt: skip


def printed(found: Outcome) -> str:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(table(pairs(found)))
    return console.export_text()


def test_a_function_on_both_devices_is_a_pair_of_medians() -> None:
    (pair,) = pairs(outcome(group("matmul", "cpu", 0.2, 20), group("matmul", "gpu", 0.01, 30)))
    assert (round(pair.cpu, 3), round(pair.gpu, 4)) == (0.2, 0.01)
    assert pair.n == (20, 30)
    assert pair.enough and not pair.simulated


def test_a_function_on_one_device_is_none() -> None:
    assert pairs(outcome(group("wave", "cpu", 0.2, 20))) == []


def test_a_failed_call_is_not_compared() -> None:
    failed = Group("matmul", "gpu", False, "failed", 9, {})
    assert pairs(outcome(group("matmul", "cpu", 0.2, 20), failed)) == []


def test_a_ratio_of_too_few_calls_is_not_printed() -> None:
    found = outcome(group("matmul", "cpu", 0.2, 20), group("matmul", "gpu", 0.01, 3))
    assert "fewer than 10" in printed(found)
    assert "×" not in printed(found)


def test_a_simulated_gpu_is_called_that() -> None:
    found = outcome(
        group("matmul", "cpu", 0.2, 20), group("matmul", "gpu", 0.2, 20, simulated=True)
    )
    assert "simulated: it computes on the CPU" in printed(found)
    assert "1.00 ×" in printed(found)
