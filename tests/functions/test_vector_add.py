"""The shipped function vector_add, against NumPy in float64."""

import io
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Context, InvalidInput
from runtime.function import Arguments, FunctionSpec

Npy = Callable[[Any], bytes]


@pytest.fixture(scope="session")
def vector_add(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("vector_add")


# The sums lie below 2, so the rounding of the last bit is at most 2⁻²⁴, 2⁻⁵³, 2⁻⁸, 2⁻¹¹.
ALLOWED = [
    ("float32", 4, 2**-24),
    ("float64", 8, 2**-53),
    ("bfloat16", 2, 2**-8),
    ("float16", 2, 2**-11),
]


@pytest.mark.parametrize(("dtype", "itemsize", "allowed"), ALLOWED)
def test_every_dtype_adds_to_its_last_bit_and_counts_its_own_bytes(
    vector_add: ModuleType, either: Context, dtype: str, itemsize: int, allowed: float
) -> None:
    result = vector_add.vector_add(either, n=250_001, dtype=dtype, repeat=3)
    assert (result.n, result.dtype, result.repeat) == (250_001, dtype, 3)
    assert result.device == ("gpu" if either.device.type == "cuda" else "cpu")
    assert result.max_error <= allowed
    assert result.gb_per_second == pytest.approx(3 * 250_001 * itemsize / result.seconds / 1e9)
    assert {"generate", "transfer_in", "warm_up", "compute", "transfer_out"} == set(either.phases)


def test_the_checksum_is_numpys_float64_sum(vector_add: ModuleType, either: Context) -> None:
    result = vector_add.vector_add(either, n=10_000, seed=5)
    generator = torch.Generator().manual_seed(5)
    a, b = (torch.rand(10_000, generator=generator).double().numpy() for _ in range(2))
    assert result.checksum == pytest.approx((a + b).sum(), rel=1e-8)
    assert result.checksum == pytest.approx(10_000, rel=0.02)


@pytest.mark.parametrize("dtype", [dtype for dtype, *_ in ALLOWED])
def test_cpu_and_gpu_round_every_sum_alike(
    vector_add: ModuleType, context: Context, gpu: Context, dtype: str
) -> None:
    one, other = (vector_add.vector_add(c, n=99_999, dtype=dtype) for c in (context, gpu))
    assert other.checksum == pytest.approx(one.checksum, rel=1e-12)
    assert other.max_error == one.max_error and other.seconds > 0


def test_the_numbers_of_a_seed_stay_what_they_were(
    vector_add: ModuleType, context: Context
) -> None:
    result = vector_add.vector_add(context, n=100_003, seed=3)
    assert result.checksum == pytest.approx(99805.93622863293, rel=1e-9)


def test_a_wrong_sum_shows_in_the_max_error(vector_add: ModuleType) -> None:
    a, b = torch.rand(2, 1000, dtype=torch.float64)
    wrong = a + b
    wrong[-1] += 0.5
    assert vector_add.max_error(a, b, a + b) == 0
    assert vector_add.max_error(a, b, wrong) == pytest.approx(0.5)


def test_one_element_is_enough(vector_add: ModuleType, context: Context) -> None:
    assert vector_add.vector_add(context, n=1).n == 1
    assert "warm_up" not in context.phases


def test_a_simulated_gpu_is_reported_as_the_cpu_it_is(vector_add: ModuleType) -> None:
    assert vector_add.vector_add(Context("gpu", simulated=True), n=10).device == "cpu"


def test_the_median_leaves_out_the_warm_up(
    load: Callable[[str], ModuleType], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    durations = iter([100.0, 1.0, 9.0, 2.0])

    def work() -> str:
        clock[0] += next(durations)
        return "done"

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert load("_device").measure(context, work, 3) == ("done", 2.0)
    assert context.phases == {"warm_up": 100.0, "compute": 12.0}


def test_uploaded_arrays_of_any_shape_are_added(
    vector_add: ModuleType, either: Context, npy: Npy
) -> None:
    a = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    result = vector_add.vector_add(either, a=npy(a), b=npy(np.ones((2, 3, 4), np.int16)))
    total = np.load(io.BytesIO(result.data), allow_pickle=False)
    assert result.media_type == "application/x-npy"
    assert total.dtype == np.float64 and (total == a + 1).all()
    assert {"transfer_in", "compute", "transfer_out"} == set(either.phases)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    st.sampled_from(["float16", "float32", "float64"]),
)
def test_an_uploaded_sum_is_always_numpys(
    vector_add: ModuleType, npy: Npy, numbers: list[float], dtype: str
) -> None:
    a = (np.array(numbers) / 100).astype(dtype)
    result = vector_add.vector_add(Context.for_test("cpu"), a=npy(a), b=npy(a[::-1]))
    total = np.load(io.BytesIO(result.data), allow_pickle=False)
    assert total.dtype == a.dtype and (total == a + a[::-1]).all()


@pytest.mark.parametrize(
    ("a", "b", "field", "said"),
    [
        (np.ones(3), None, "/b", "is missing: send both"),
        (None, np.ones(3), "/a", "is missing: send both"),
        (np.ones(3), np.ones((3, 1)), "/b", r"shape \(3, 1\), but a has \(3,\)"),
        (np.ones(3), np.array(["x"]), "/b", "holds <U1: send float16"),
        (np.array([]), np.array([]), "/a", "is empty"),
    ],
)
def test_arrays_that_cannot_be_added_are_refused_with_the_way_out(
    vector_add: ModuleType, context: Context, npy: Npy, a: Any, b: Any, field: str, said: str
) -> None:
    left, right = (None if given is None else npy(given) for given in (a, b))
    with pytest.raises(InvalidInput, match=said) as raised:
        vector_add.vector_add(context, a=left, b=right)
    assert raised.value.errors[0][0] == field


def test_bytes_that_are_no_array_are_refused(vector_add: ModuleType, context: Context) -> None:
    with pytest.raises(InvalidInput, match=r"is no \.npy file"):
        vector_add.vector_add(context, a=b"1,2,3", b=b"4,5,6")


def test_the_schema_tells_bounds_and_media_types(
    described: Callable[[str], FunctionSpec], vector_add: ModuleType
) -> None:
    spec = described("vector_add")
    properties = spec.input_schema["properties"]
    assert spec.devices == ("cpu", "gpu") and spec.cost == "repeat * n"
    assert spec.binary == {"a": "application/x-npy", "b": "application/x-npy"}
    assert properties["n"].items() >= {"minimum": 1, "maximum": 200_000_000}.items()
    assert properties["dtype"]["enum"] == ["float32", "float64", "bfloat16", "float16"]
    assert all(p.get("description") for p in properties.values())
    assert "gb_per_second" in str(spec.output_schema)
    assert Arguments(vector_add.vector_add).build(b'{"n": 7}', {})["n"] == 7
