"""A run tells the truth: of what failed, died, hung, disagreed, was not there or was stopped."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtest.suite.results import Results, dumps, read
from runtime.errors import ConfigurationError

NAP = {"case": "nap", "function": "nap", "axis": "n", "ladder": [1, 2], "seconds": "seconds"}
PARITY = [{"field": "checksum", "tolerance": 0}, {"field": "losses.1", "at_most": "n"}]
Run = Callable[..., Any]


def case(function: str, **more: Any) -> dict[str, Any]:
    return {"case": function, "function": function, "axis": "n", "ladder": [1]} | more


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are the same on a machine that has one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


async def test_cells_hold_what_functions_told(measure: Run, told: Any) -> None:
    work = {"amount": "n", "unit": "B", "ceiling": "nap {way}"}
    plan = NAP | {"work": work, "parity": PARITY}
    found = await measure([plan | {"parameters": {"way": "slow"}}], simulate_gpu=True)
    assert [(c.device, c.size, c.stopped) for c in found.cells] == [
        (device, size, "3 samples") for device in ("cpu", "gpu") for size in (1, 2)
    ]
    for cell in found.cells:
        assert [sample.seconds for sample in cell.samples] == [cell.size / 1000] * 3
        assert all(sample.run >= cell.size / 1000 for sample in cell.samples)
        assert (cell.work, cell.unit, cell.ceiling) == (cell.size, "B", "nap slow")
    orders = [sample.order for cell in found.cells for sample in cell.samples]
    assert sorted(orders) == list(range(12))
    assert [(p.size, p.holds) for p in found.parities] == [(1, True), (2, True)]
    assert told[0]["event"] == "began"
    assert told[0]["total"] == 4
    assert told[-1]["event"] == "ended"
    assert [event["done"] for event in told.of("cell")] == [1, 2, 3, 4]
    assert len(told.of("sample")) == 12


async def test_results_survive_their_own_json(measure: Run, tmp_path: Path) -> None:
    found: Results = await measure([NAP])
    file = tmp_path / "job_results.json"
    file.write_bytes(dumps(found))
    assert read(file) == found


async def test_the_seed_decides_the_order(measure: Run, told: Any) -> None:
    orders = []
    for seed in (1, 1, 2):
        await measure([NAP | {"ladder": [1, 2, 3, 4, 5]}], seed=seed, cold=0)
        orders.append([event["size"] for event in told.of("sample")])
        told.clear()
    assert orders[0] == orders[1] != orders[2]


async def test_without_a_gpu_there_is_no_parity_and_it_is_said(measure: Run) -> None:
    found = await measure([NAP | {"parity": PARITY}])
    assert {cell.device for cell in found.cells} == {"cpu"}
    assert [device.kind for device in found.devices] == ["cpu"]
    assert {(p.holds, p.reason) for p in found.parities} == {(None, "no GPU here")}
    assert any("no GPU here" in note for note in found.notes)


async def test_a_simulated_gpu_is_labelled(measure: Run) -> None:
    found = await measure([NAP], simulate_gpu=True)
    assert [(d.kind, d.simulated) for d in found.devices] == [("cpu", False), ("gpu", True)]
    assert any("simulated" in note for note in found.notes)


async def test_one_device_may_be_asked_for(measure: Run) -> None:
    found = await measure([NAP], simulate_gpu=True, devices=("gpu",))
    assert {cell.device for cell in found.cells} == {"gpu"}
    assert {p.reason for p in found.parities} == {"only the GPU was asked for"}


async def test_a_function_that_fails_half_its_calls_is_measured_by_the_others(
    measure: Run,
) -> None:
    found = await measure([case("half", seconds="seconds")], cold=0)
    (cell,) = found.cells
    assert len(cell.samples) == 3
    assert len(cell.failures) >= 3
    assert set(cell.failures) == {"ValueError: an odd call"}
    assert cell.stopped == "3 samples"


async def test_a_function_that_never_succeeds_is_given_up(measure: Run) -> None:
    found = await measure([case("never")], simulate_gpu=True)
    assert [(len(c.samples), c.stopped) for c in found.cells] == [(0, "failures")] * 2
    assert found.cells[0].failures == ("ValueError: never",) * 5
    (parity,) = found.parities
    assert (parity.holds, parity.reason) == (None, "the plan names no field to compare")
    assert found.colds == ()


async def test_a_replica_that_dies_costs_its_own_cell_only(measure: Run) -> None:
    found = await measure([case("dies", ladder=[1, 2]), NAP], cold=0)
    one, two, *others = found.cells
    assert len(one.samples) == 3
    assert (two.samples, two.stopped) == ((), "failures")
    assert set(two.failures) == {"the replica ended: signal 11 (SIGSEGV)"}
    assert all(cell.samples for cell in others)


async def test_a_call_that_hangs_is_killed_and_larger_ones_are_left_out(measure: Run) -> None:
    plan = case("hangs", ladder=[1, 2, 4], timeout=0.3)
    found = await measure([plan], limit=0.2, longest=0.5, cold=0)
    one, two, four = found.cells
    assert len(one.samples) == 3
    assert (two.failures, two.stopped) == (("took longer than 0.3 s",), "failures")
    assert (four.samples, four.failures) == ((), ())
    assert four.stopped.startswith("left out: a call would take about")


async def test_what_has_no_json_form_is_a_failure(measure: Run) -> None:
    found = await measure([case("unreadable")], cold=0)
    assert "ResultNotSerializable" in found.cells[0].failures[0]


async def test_a_setup_that_fails_is_not_tried_for_ever(measure: Run) -> None:
    found = await measure([case("no_setup", ladder=[1, 2, 3])])
    assert {cell.stopped for cell in found.cells} == {"failures"}
    assert "RuntimeError: no model here" in found.cells[0].failures[0]


async def test_a_result_that_differs_is_no_parity(measure: Run, told: Any) -> None:
    rules = [{"field": "checksum", "tolerance": 0.0015}]
    found = await measure([case("differs", ladder=[1, 2], parity=rules)], simulate_gpu=True)
    assert [p.holds for p in found.parities] == [True, False]
    check = found.parities[1].checks[0]
    assert (check.cpu, check.gpu, check.holds) == (1.0, 1.002, False)
    assert [event["holds"] for event in told.of("parity")] == [True, False]


async def test_a_number_that_one_device_does_not_tell_is_no_parity(measure: Run) -> None:
    rules = [{"field": "missing", "tolerance": 1}]
    found = await measure([case("differs", parity=rules)], simulate_gpu=True)
    assert found.parities[0].holds is False
    assert "no such number from gpu" in found.parities[0].checks[0].rule


async def test_the_cpu_is_called_the_way_that_is_its_fastest(measure: Run) -> None:
    ways = [{"way": "slow"}, {"way": "fast"}]
    plan = NAP | {"cpu": ways, "gpu": {"way": "slow"}, "ladder": [20], "parity": PARITY}
    found = await measure([plan | {"compare": {"way": "slow"}}], simulate_gpu=True)
    assert [cell.parameters["way"] for cell in found.cells] == ["fast", "slow"]
    assert any("the CPU is called with way=fast" in note for note in found.notes)
    assert found.parities[0].holds is True


async def test_cells_that_are_called_alike_are_measured_once(measure: Run, told: Any) -> None:
    cases = [NAP | {"case": "a", "ladder": [1]}, NAP | {"case": "b", "ladder": [1]}]
    found = await measure(cases, cold=0)
    assert found.cells[0].samples == found.cells[1].samples
    assert len(told.of("sample")) == 3
    assert [event["case"] for event in told.of("cell")] == ["a", "b"]


async def test_a_cold_start_costs_more_than_a_warm_call(measure: Run) -> None:
    found = await measure([NAP | {"cold": 2}], simulate_gpu=True, cold=2)
    assert sorted(c.device for c in found.colds) == ["cpu", "cpu", "gpu", "gpu"]
    for cold in found.colds:
        assert (cold.function, cold.case, cold.size) == ("nap", "nap", 2)
        assert cold.start > 0
        assert cold.first >= 0.002
        assert cold.warm >= 0.002


async def test_functions_without_a_case_are_measured_with_their_defaults(measure: Run) -> None:
    found = await measure([], functions=("by_default", "needy", "cpu_only"), simulate_gpu=True)
    assert {(c.case, c.device, c.axis, c.size) for c in found.cells} == {
        ("by_default", "cpu", "", 0),
        ("by_default", "gpu", "", 0),
        ("cpu_only", "cpu", "", 0),
    }
    assert any("needy is not measured: it needs n, kind" in note for note in found.notes)
    assert {(p.case, p.reason) for p in found.parities} == {
        ("by_default", "not in the plan: add a case with `parity` to compare its results"),
        ("cpu_only", "cpu_only does not run on the gpu"),
    }


async def test_what_takes_more_memory_than_there_is_is_left_out(measure: Run) -> None:
    found = await measure([NAP | {"memory": "1e18 * (n - 1)"}], cold=0)
    assert [len(cell.samples) for cell in found.cells] == [3, 0]
    assert found.cells[1].stopped.startswith("left out: it takes about 1e+09 GB")


async def test_a_run_that_is_stopped_tells_what_it_has(measure: Run) -> None:
    stop = asyncio.Event()

    def stop_at_the_third_sample(event: dict[str, Any]) -> None:
        if event["event"] == "sample" and event["n"] == 3:
            stop.set()

    cases = [NAP | {"ladder": [1, 1000], "parity": PARITY}, case("by_default")]
    found = await measure(
        cases, stop=stop, tell=stop_at_the_third_sample, most=50, least=50, simulate_gpu=True
    )
    assert found.interrupted is not None
    assert found.interrupted.startswith("it was told to stop after")
    assert {cell.stopped for cell in found.cells} == {"interrupted"}
    assert max(len(cell.samples) for cell in found.cells) in (3, 4)
    assert {(p.case, p.holds, p.reason) for p in found.parities} == {
        ("nap", None, "interrupted"),
        ("by_default", None, "the plan names no field to compare"),
    }


async def test_a_call_that_runs_is_not_waited_for_by_a_stop(measure: Run) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.6, stop.set)
    found = await measure([case("hangs", ladder=[2])], stop=stop)
    assert found.interrupted is not None
    assert found.seconds < 30
    assert found.cells[0].stopped == "interrupted"


async def test_an_unknown_function_is_named(measure: Run) -> None:
    with pytest.raises(ConfigurationError, match="there is no function 'nothing'"):
        await measure([], functions=("nothing",))


async def test_a_case_that_cannot_be_called_so_is_named(measure: Run) -> None:
    with pytest.raises(ConfigurationError, match="case 'nap': nap has no parameter 'm'"):
        await measure([NAP | {"axis": "m"}])
    with pytest.raises(ConfigurationError, match="case 'nap': 'x' names 'x'"):
        await measure([NAP | {"memory": "x"}])


async def test_cases_of_functions_that_are_not_here_are_told(measure: Run) -> None:
    found = await measure([case("elsewhere")], functions=(), devices=("gpu",))
    assert found.cells == ()
    assert "the plan has cases of functions that are not here: elsewhere" in found.notes


async def test_a_gpu_that_torch_cannot_use_is_told_and_not_measured(
    measure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    if torch.version.cuda:
        pytest.skip("this torch can use a GPU")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA H200, 143771'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    found = await measure([NAP | {"parity": PARITY}], cold=0)
    assert [device.kind for device in found.devices] == ["cpu"]
    assert {cell.device for cell in found.cells} == {"cpu"}
    assert all(cell.samples for cell in found.cells)
    (reason,) = {parity.reason for parity in found.parities}
    assert reason.startswith("the GPU cannot be used: ")
    assert "CUDA" in reason
    assert reason in found.notes
