"""Cold calls are made at a moderate size that was measured on every device."""

from typing import Any

import pytest

from loadtest.suite.case import Case
from loadtest.suite.cold import moderate
from loadtest.suite.entry import Entry
from loadtest.suite.plan import Effort
from loadtest.suite.results import Sample
from loadtest.suite.trial import Trial
from runtime.function import describe, function
from runtime.model import Device


@function(devices=("cpu", "gpu"))
def measured(n: int = 1) -> int:
    return n


SPEC = describe(measured, file=__file__, attribute="measured")


def case(name: str, cold: float | None = None) -> Case:
    both: dict[Device, Any] = {"cpu": ({},), "gpu": ({},)}
    sizes = (1.0, 2.0, 4.0, 8.0, 16.0)
    return Case(name, SPEC, "n", sizes, both, None, None, None, (), None, 1.0, cold, True)


def entry(of: Case, device: Device, size: float, *, samples: int = 1) -> Entry:
    trial = Trial(
        device,
        size,
        {"n": size},
        seconds=None,
        fields=(),
        timeout=1.0,
        effort=Effort(),
        place=lambda: 0,
    )
    trial.samples = [Sample(0, 1.0, 0.0, 0.0, 1.0)] * samples
    return Entry(of, device, size, trial)


@pytest.mark.parametrize(
    ("cold", "cpu", "gpu", "chosen"),
    [
        (None, [1, 2, 4, 8, 16], [1, 2, 4, 8, 16], 4),
        (8, [1, 2, 4, 8, 16], [1, 2, 4, 8, 16], 8),
        (7, [1, 2, 4, 8, 16], [1, 2, 4, 8, 16], 8),
        (None, [1, 2], [1, 2, 4, 8, 16], 2),
        (16, [1, 2, 4], [4, 16], 4),
    ],
)
def test_one_size_for_both_devices(
    cold: float | None, cpu: list[float], gpu: list[float], chosen: float
) -> None:
    of = case("a", cold)
    measured: dict[Device, list[float]] = {"cpu": cpu, "gpu": gpu}
    entries = [
        entry(of, device, size, samples=size in measured[device])
        for device in measured
        for size in of.sizes
    ]
    assert {device: e.size for device, e in moderate(entries).items()} == {
        "cpu": chosen,
        "gpu": chosen,
    }


def test_a_device_without_samples_is_left_out() -> None:
    of = case("a")
    entries = [entry(of, "cpu", 2), entry(of, "gpu", 2, samples=0)]
    assert list(moderate(entries)) == ["cpu"]


def test_the_first_case_that_was_measured_counts() -> None:
    nothing, measured = case("a"), case("b")
    entries = [entry(nothing, "cpu", 2, samples=0), entry(measured, "cpu", 2)]
    assert moderate(entries)["cpu"].case is measured
    assert moderate(entries[:1]) == {}
