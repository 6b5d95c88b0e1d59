"""The speedup: what is compared with what, and a service that keeps it up to date."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import speedup as module
from runtime.blobs import Blobs
from runtime.errors import Unavailable
from runtime.function import describe, function
from runtime.ledger import Ledger
from runtime.model import Device, Invocation, Message, Part, Payload, Status, new_id
from runtime.samples import Sample
from runtime.speedup import Speedups, speedup
from runtime.views import speedup_view
from tests.places import Place
from tests.support import Page


def runs(*seconds: float, **same: Any) -> list[Sample]:
    plain: dict[str, Any] = {"version": "1", "input": None, "cost": None, "simulated": False}
    return [Sample(run, **(plain | same)) for run in seconds]


def each(count: int, factor: float = 1.0, **same: Any) -> list[Sample]:
    """A run of each of so many inputs, which take as long as their number says."""
    return [s for n in range(1, count + 1) for s in runs(n * factor, input=bytes([n]), **same)]


# ── what is compared ──────────────────────────────────────────────────────────────────────────────


def test_runs_of_the_same_inputs_are_compared_pair_by_pair() -> None:
    odd = runs(1000.0, 2000.0, input=b"only there")
    found = speedup([*each(12), *odd], each(12, 0.25))
    assert found is not None
    assert (found.basis, found.ratio, found.pairs) == ("same inputs", 4.0, 12)
    assert (found.low, found.high) == (4.0, 4.0)
    assert found.n == {"cpu": 12, "gpu": 12}
    assert found.median_run == {"cpu": 6.5, "gpu": 6.5 / 4}
    assert found.enough


def test_several_runs_of_one_input_count_as_their_median() -> None:
    slow = runs(8.0, 900.0, 7.0, input=bytes([1]))
    cpu = [*slow, *(s for s in each(6) if s.input != bytes([1]))]
    found = speedup(cpu, each(6, 0.5))
    assert found is not None
    assert found.ratio == 2.0  # of 8 / 0.5 and five times 2
    assert found.n == {"cpu": 8, "gpu": 6}
    assert not found.enough


def test_four_pairs_are_too_few() -> None:
    found = speedup(each(4), each(4, 0.5))
    assert found is not None
    assert (found.basis, found.pairs) == ("any inputs", 4)


def test_the_same_input_of_another_version_is_another() -> None:
    found = speedup(each(9), each(9, 0.5, version="2"))
    assert found is not None
    assert (found.basis, found.pairs) == ("any inputs", 0)


def test_runs_of_like_cost_are_compared_where_inputs_are_not() -> None:
    """Large ones on the GPU and small ones on the CPU, as people do: any inputs would say 0.2."""
    small = {"cost": 1.0}
    large = {"cost": 1000.0}
    cpu = [*runs(*[1.0] * 20, **small), *runs(*[100.0] * 3, **large)]
    gpu = [*runs(*[0.5] * 3, **small), *runs(*[50.0] * 20, **large)]
    found = speedup(cpu, gpu)
    assert found is not None
    assert (found.basis, found.ratio) == ("like cost", 2.0)
    assert found.n == {"cpu": 23, "gpu": 23}


def test_costs_are_alike_within_a_power_of_two() -> None:
    def basis(cost: float) -> str | None:
        found = speedup(runs(1, 1, 1, cost=1.0), runs(1, 1, 1, cost=cost))
        return found.basis if found else None

    assert (basis(1.99), basis(2.0), basis(0.99)) == ("like cost", "any inputs", "any inputs")


def test_a_class_of_cost_needs_three_runs_a_side() -> None:
    found = speedup(runs(1, 1, 1, cost=1.0), runs(1, 1, cost=1.0))
    assert found is not None and found.basis == "any inputs"


def test_else_medians_of_any_inputs_are_compared() -> None:
    rng = random.Random(2)
    cpu = runs(*(rng.lognormvariate(2, 0.3) for _ in range(30)))
    gpu = runs(*(rng.lognormvariate(0, 0.3) for _ in range(30)))
    found = speedup(cpu, gpu)
    assert found is not None and found.low is not None and found.high is not None
    assert found.basis == "any inputs"
    assert found.low < found.ratio < found.high
    assert found.ratio == found.median_run["cpu"] / found.median_run["gpu"]


def test_a_side_without_runs_gives_none() -> None:
    assert speedup([], runs(1.0)) is None
    assert speedup(runs(1.0), []) is None
    assert speedup([], []) is None


def test_under_ten_runs_a_side_are_not_enough() -> None:
    assert [
        found.enough for n in (9, 10) if (found := speedup(runs(*[1.0] * 10), runs(*[1.0] * n)))
    ] == [False, True]


def test_simulated_runs_and_real_ones_are_never_mixed() -> None:
    real, simulated = runs(1.0), runs(8.0, simulated=True)
    newest_is_real = speedup(runs(8.0), [*real, *simulated, *real])
    newest_is_simulated = speedup(runs(8.0), [*simulated, *real])
    assert newest_is_real is not None and newest_is_simulated is not None
    assert (newest_is_real.simulated, newest_is_real.ratio) == (False, 8.0)
    assert newest_is_real.n["gpu"] == 2
    assert (newest_is_simulated.simulated, newest_is_simulated.ratio) == (True, 1.0)


sample = st.builds(
    Sample,
    run=st.floats(1e-6, 1e4),
    version=st.sampled_from("ab"),
    input=st.none() | st.binary(max_size=1),
    cost=st.none() | st.floats(1e-3, 1e9),
    simulated=st.booleans(),
)
side = st.lists(sample, min_size=1, max_size=30)


@given(side, side)
def test_a_speedup_always_lies_between_the_extremes_and_in_its_interval(
    cpu: list[Sample], gpu: list[Sample]
) -> None:
    found = speedup(cpu, gpu)
    assert found is not None
    fastest = min(s.run for s in cpu) / max(s.run for s in gpu)
    slowest = max(s.run for s in cpu) / min(s.run for s in gpu)
    assert fastest * 0.999 <= found.ratio <= slowest * 1.001
    assert 1 <= found.n["cpu"] <= len(cpu) and 1 <= found.n["gpu"] <= len(gpu)
    assert (found.low is None) == (found.high is None)
    if found.low is not None and found.high is not None:
        assert fastest * 0.999 <= found.low <= found.high <= slowest * 1.001


@given(side, side)
def test_the_speedup_never_depends_on_the_unit_of_time(
    cpu: list[Sample], gpu: list[Sample]
) -> None:
    found = speedup(cpu, gpu)
    again = speedup(
        [replace(s, run=s.run * 8) for s in cpu], [replace(s, run=s.run * 8) for s in gpu]
    )
    assert found is not None and again is not None
    assert again.ratio == pytest.approx(found.ratio)
    assert (again.basis, again.n) == (found.basis, found.n)


def test_the_guide_says_what_each_field_is() -> None:
    told = speedup_view(speedup(each(6), each(6)))
    assert told is not None
    fields = [row[0].strip("`") for row in Page("user-guide.md").table("field")]
    assert sorted(fields) == sorted(told)


# ── kept up to date ───────────────────────────────────────────────────────────────────────────────


@function(devices=("cpu", "gpu"), cost="n ** 2")
def product(n: int = 4, image: bytes | None = None) -> int:
    """Multiply."""
    return n


@function(devices=("cpu",))
def plain(n: int) -> int:
    return n


SPECS = {
    target.__name__: describe(target, file="f.py", attribute=target.__name__)
    for target in (product, plain)
}


class Bench:
    """A ledger, and the speedups of the functions in it."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self.blobs = Blobs(folder.as_uri())
        self.functions = dict(SPECS)
        self.speedups = Speedups(ledger.runs, self.blobs, lambda: self.functions)

    async def ran(
        self,
        device: Device,
        run: float,
        upload: bytes | None = None,
        name: str = "product",
        simulated: bool = False,
        **parameters: Any,
    ) -> Invocation:
        """An invocation that succeeded just now."""
        id = new_id()
        parts: tuple[Part, ...] = ()
        if upload is not None:
            self.blobs.write(f"{id}/image", upload)
            parts = (Part("image", "image/png", len(upload), None, f"{id}/image"),)
        payload = Payload(orjson.dumps(parameters), parts)
        now = time.time()
        invocation = Invocation(
            Message(id, name, device, payload, now),
            device,
            "1",
            Status.SUCCEEDED,
            started_at=now,
            finished_at=now,
            timings={"queue": 0.5, "start": 0.0, "run": run},
            replica=f"{name}-{device}-simulated-1" if simulated else f"{name}-{device}-1",
        )
        await self.ledger.write([invocation])
        return invocation


@pytest.fixture
async def bench(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(ledger, tmp_path / "blobs")
    yield bench
    await bench.speedups.close()


async def test_the_same_parameters_are_the_same_input_however_they_are_written(
    bench: Bench,
) -> None:
    for n in range(1, 6):
        await bench.ran("cpu", float(n), n=n, image=None)
        given: dict[str, Any] = {"image": None} if n == 4 else {"image": None, "n": n}
        await bench.ran("gpu", n / 2, **given)
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None
    assert (found.basis, found.pairs, found.ratio) == ("same inputs", 5, 2.0)
    assert bench.speedups.of("plain") is None and bench.speedups.of("unheard of") is None


async def test_uploads_are_the_same_where_their_bytes_are(bench: Bench) -> None:
    images = [bytes([n]) * 100 for n in range(6)]
    for image in images:
        await bench.ran("cpu", 3.0, image)
        await bench.ran("gpu", 1.0, image)
        await bench.ran("gpu", 50.0, image[:-1] + b"!")
    lost = await bench.ran("gpu", 50.0, images[0])
    bench.blobs.delete(lost.id)
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None
    assert (found.basis, found.pairs, found.ratio) == ("same inputs", 6, 3.0)
    assert found.n == {"cpu": 6, "gpu": 6}


async def test_costs_are_those_of_the_functions_own_expression(bench: Bench) -> None:
    for n in range(3):
        await bench.ran("cpu", 4.0, n=100 + n)
        await bench.ran("gpu", 2.0, n=103 + n)
        await bench.ran("gpu", 99.0, n=1000 + n)
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None
    assert (found.basis, found.ratio) == ("like cost", 2.0)
    bench.functions["product"] = replace(SPECS["product"], cost="no expression(")
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None and found.basis == "any inputs"


async def test_what_is_too_long_to_be_compared_still_counts(bench: Bench) -> None:
    long: dict[str, Any] = {"n": 1, "image": "x" * 70_000}
    for _ in range(5):
        await bench.ran("cpu", 4.0, **long)
        await bench.ran("gpu", 2.0, **long)
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None
    assert (found.basis, found.pairs, found.ratio) == ("any inputs", 0, 2.0)


async def test_what_succeeds_later_is_found_and_what_is_known_is_not_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    inputs = bench.ledger.runs.inputs

    async def counting(ids: Any) -> Any:
        asked.append(len(ids))
        return await inputs(ids)

    monkeypatch.setattr(bench.ledger.runs, "inputs", counting)
    await bench.speedups.refresh()
    assert bench.speedups.of("product") is None
    await bench.ran("cpu", 3.0, n=1)
    await bench.speedups.refresh()
    assert bench.speedups.of("product") is None
    await bench.ran("gpu", 1.0, n=1, simulated=True)
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None
    assert (found.ratio, found.simulated, found.low, found.enough) == (3.0, True, None, False)
    await bench.ran("gpu", 1.0, n=2, simulated=True)
    await bench.speedups.refresh()
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None and found.n == {"cpu": 1, "gpu": 2}
    assert asked == [2, 1]


async def test_only_the_latest_are_compared(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LATEST", 3)
    for run in (9.0, 9.0, 9.0, 2.0, 2.0, 2.0):
        await bench.ran("cpu", run, n=1)
    await bench.ran("gpu", 1.0, n=1)
    await bench.speedups.refresh()
    found = bench.speedups.of("product")
    assert found is not None
    assert (found.ratio, found.n["cpu"]) == (2.0, 3)


async def test_a_function_that_is_gone_or_has_one_device_is_forgotten(bench: Bench) -> None:
    await bench.ran("cpu", 2.0, n=1)
    await bench.ran("gpu", 1.0, n=1)
    await bench.speedups.refresh()
    assert bench.speedups.of("product")
    bench.functions["product"] = replace(SPECS["product"], devices=("cpu",))
    await bench.speedups.refresh()
    assert bench.speedups.of("product") is None


async def test_it_looks_by_itself_and_outlives_a_ledger_that_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    latest = bench.ledger.runs.latest
    failed: list[str] = []

    async def away(*_: Any) -> Any:
        failed.append("once")
        raise Unavailable("the ledger is away", 5)

    with monkeypatch.context() as patched:
        patched.setattr(bench.ledger.runs, "latest", away)
        await bench.ran("cpu", 2.0, n=1)
        await bench.ran("gpu", 1.0, n=1)
        bench.speedups.start()
        while len(failed) < 2:
            await asyncio.sleep(0.01)
    assert bench.ledger.runs.latest == latest
    while not bench.speedups.of("product"):
        await asyncio.sleep(0.01)


async def test_what_ended_lately_is_told_by_function_and_device(bench: Bench, place: Place) -> None:
    await bench.ran("cpu", 2.0, n=1)
    await bench.ran("gpu", 2.0, name="other")
    failed = await bench.ran("cpu", 2.0, name="failing")
    await place.do(f"UPDATE invocations SET status = 'failed' WHERE id = '{failed.id}'")
    now = time.time()
    assert await bench.ledger.runs.ended_since(now - 5) == {("product", "cpu"), ("other", "gpu")}
    assert await bench.ledger.runs.ended_since(now + 5) == set()
