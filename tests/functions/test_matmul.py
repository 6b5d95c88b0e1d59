"""The shipped function matmul, against NumPy in float64 and against products known by hand."""

import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime import Blob, Context, InvalidInput
from runtime.function import Arguments, FunctionSpec

Npy = Callable[[Any], bytes]


@pytest.fixture(scope="session")
def matmul(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("matmul")


def unpack(result: Blob) -> NDArray[Any]:
    assert result.media_type == "application/x-npy"
    array: NDArray[Any] = np.load(io.BytesIO(result.data), allow_pickle=False)
    return array


# The worst rounding each format may do to a product of 200 terms, relative to the whole product:
# unit roundoff 2⁻²⁴, 2⁻¹¹ (TF32 and float16) and 2⁻⁸, times a few.
ALLOWED = [("float32", 1e-6), ("tf32", 1e-3), ("bfloat16", 8e-3), ("float16", 1e-3)]


@pytest.mark.parametrize(("dtype", "allowed"), ALLOWED)
def test_every_dtype_multiplies_as_exactly_as_it_can(
    matmul: ModuleType, either: Context, dtype: str, allowed: float
) -> None:
    product = matmul.matmul(either, n=200, dtype=dtype, repeat=3)
    assert (product.n, product.dtype, product.repeat) == (200, dtype, 3)
    assert product.device == ("gpu" if either.device.type == "cuda" else "cpu")
    assert 0 < product.relative_error < allowed
    assert product.gflops == pytest.approx(2 * 200**3 / product.seconds / 1e9)
    assert {"generate", "transfer_in", "warm_up", "compute", "transfer_out"} == set(either.phases)


def test_the_checksum_is_that_of_numpys_float64_product(
    matmul: ModuleType, either: Context
) -> None:
    product = matmul.matmul(either, n=64, seed=3)
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.randn(64, 64, generator=generator).double().numpy() for _ in range(2))
    assert product.checksum == pytest.approx((a @ b).sum(), rel=1e-4)


@pytest.mark.parametrize(("dtype", "allowed"), ALLOWED)
def test_cpu_and_gpu_give_the_same_product(
    matmul: ModuleType, context: Context, gpu: Context, dtype: str, allowed: float
) -> None:
    one, other = (matmul.matmul(device, n=300, dtype=dtype, seed=6) for device in (context, gpu))
    # A product's n² entries are about √n large, and their errors add up like a random walk.
    assert other.checksum == pytest.approx(one.checksum, abs=4 * allowed * 300**1.5)
    assert other.relative_error < allowed and other.seconds > 0


def test_the_numbers_of_a_seed_stay_what_they_were(matmul: ModuleType, context: Context) -> None:
    product = matmul.matmul(context, n=200, seed=3)
    assert product.checksum == pytest.approx(-2871.88, abs=4e-6 * 200**1.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_product_is_written_where_it_is_told_to(matmul: ModuleType, dtype: torch.dtype) -> None:
    a, b = torch.randn(2, 30, 30, generator=torch.Generator().manual_seed(1)).to(dtype)
    out = torch.full_like(a, torch.nan)
    assert matmul.multiply(a, b, out) is out
    assert torch.equal(out, matmul.multiply(a, b))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_factors_of_two_formats_meet_on_the_gpu(
    matmul: ModuleType, either: Context, npy: Npy, dtype: str
) -> None:
    a = np.arange(6.0).reshape(2, 3)
    result = unpack(matmul.matmul(either, a=npy(a.astype(dtype)), b=npy(a.T.copy())))
    assert result.dtype == np.float64 and (result == a @ a.T).all()


def test_one_product_on_a_cpu_is_not_warmed_up(matmul: ModuleType, context: Context) -> None:
    matmul.matmul(context, n=8)
    assert "warm_up" not in context.phases


def test_a_wrong_product_shows_in_the_relative_error(matmul: ModuleType) -> None:
    a, b = torch.randn(2, 50, 50)
    assert matmul.relative_error(a, b, a @ b) < 1e-6
    assert matmul.relative_error(a, b, 1.01 * (a @ b)) == pytest.approx(0.01, rel=1e-3)
    assert matmul.relative_error(a, b, b @ a) > 0.5


def test_precision_is_set_for_the_product_and_put_back(
    matmul: ModuleType, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    multiply = matmul.multiply

    def watched(*given: torch.Tensor) -> torch.Tensor:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        product: torch.Tensor = multiply(*given)
        return product

    monkeypatch.setattr(matmul, "multiply", watched)
    torch.set_float32_matmul_precision("medium")
    try:
        matmul.matmul(context, n=4, dtype="float32")
        matmul.matmul(context, n=4, dtype="tf32")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == [("highest", False), ("high", True)]
    assert torch.backends.cudnn.allow_tf32


def test_uploaded_matrices_are_multiplied(matmul: ModuleType, either: Context, npy: Npy) -> None:
    a, b = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[0.0, 1.0], [1.0, 0.0]]
    result = unpack(matmul.matmul(either, a=npy(a), b=npy(b)))
    assert result.tolist() == [[2.0, 1.0], [4.0, 3.0], [6.0, 5.0]]
    assert {"transfer_in", "compute", "transfer_out"} == set(either.phases)


def test_a_square_matrix_alone_is_squared(matmul: ModuleType, context: Context, npy: Npy) -> None:
    fibonacci = npy(np.array([[1, 1], [1, 0]]))
    result = unpack(matmul.matmul(context, a=fibonacci))
    assert result.tolist() == [[2.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("float32", "float32", "float32"),
        ("float16", "float16", "float16"),
        ("float32", "float64", "float64"),
        ("int64", "float32", "float64"),
        ("bool", "uint8", "float64"),
        (">f8", "<f4", "float64"),
        (">f4", "<f4", "float32"),
    ],
)
def test_the_wider_format_wins_and_integers_count_as_float64(
    matmul: ModuleType, context: Context, npy: Npy, left: str, right: str, expected: str
) -> None:
    a = np.arange(6).reshape(2, 3).clip(0, 1 if left == "bool" else 9)
    b = np.arange(12).reshape(3, 4)
    result = unpack(matmul.matmul(context, a=npy(a.astype(left)), b=npy(b.astype(right))))
    assert result.dtype == expected
    assert (result == a @ b).all()


def test_columns_first_and_a_header_of_format_2_are_read(
    matmul: ModuleType, context: Context, npy: Npy
) -> None:
    a = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    file = io.BytesIO()
    np.lib.format.write_array(file, a.T.copy(), version=(2, 0))
    result = unpack(matmul.matmul(context, a=npy(a), b=file.getvalue()))
    assert (result == a @ a.T).all()


@pytest.mark.parametrize(
    ("a", "b", "field", "said"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), "/b", "has 2 rows, but a has 3 columns"),
        (np.ones((2, 3)), None, "/b", "is missing, and a is 2 × 3"),
        (None, np.ones((2, 2)), "/a", "is missing"),
        (np.ones(3), None, "/a", r"has shape \(3,\): send a matrix"),
        (np.ones((2, 2), complex), None, "/a", "holds complex128"),
        (np.array([["x"]]), None, "/a", "holds <U1"),
        (np.ones((0, 0)), None, "/a", "is empty"),
        (np.ones((3000, 1)), np.ones((1, 3000)), "/a", "3000 × 3000, 69 MiB; at most 64 MiB"),
    ],
)
def test_matrices_that_cannot_be_multiplied_are_refused_with_the_way_out(
    matmul: ModuleType, context: Context, npy: Npy, a: Any, b: Any, field: str, said: str
) -> None:
    left, right = (None if given is None else npy(given) for given in (a, b))
    with pytest.raises(InvalidInput, match=said) as raised:
        matmul.matmul(context, a=left, b=right)
    assert raised.value.errors[0][0] == field


def test_a_pickle_is_never_opened(matmul: ModuleType, context: Context) -> None:
    file = io.BytesIO()
    np.save(file, np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput, match="holds object"):
        matmul.matmul(context, a=file.getvalue())


def test_a_header_that_promises_terabytes_takes_no_memory(
    matmul: ModuleType, context: Context, npy: Npy
) -> None:
    small = npy(np.ones((2, 2)))
    header = small[:128].replace(b"(2, 2), }        ", b"(999999, 999999)}")
    assert header != small[:128]
    with pytest.raises(InvalidInput, match="is longer than the file"):
        matmul.matmul(context, a=header + small[128:])
    with pytest.raises(InvalidInput, match="is longer than the file"):
        matmul.matmul(context, a=small[:-1])


HEADER = b"\x93NUMPY\x01\x00\x76\x00"


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda rest: HEADER + rest),
        st.text("{}()[]'\"descrshapefortran_order:,-<>fiuc0123456789 \n", max_size=150).map(
            lambda text: HEADER + text.encode().ljust(118) + b"\0" * 64
        ),
    )
)
def test_no_bytes_at_all_make_a_stack_trace(matmul: ModuleType, data: bytes) -> None:
    try:
        result = matmul.matmul(Context.for_test("cpu"), a=data)
    except InvalidInput as error:
        assert error.errors[0][0] in ("/a", "/b")
    else:
        assert isinstance(result, Blob)


def test_the_schema_tells_bounds_and_media_types(
    described: Callable[[str], FunctionSpec], matmul: ModuleType
) -> None:
    spec = described("matmul")
    properties = spec.input_schema["properties"]
    assert spec.devices == ("cpu", "gpu") and not spec.streams
    assert spec.binary == {"a": "application/x-npy", "b": "application/x-npy"}
    assert properties["n"].items() >= {"minimum": 1, "maximum": 16384}.items()
    assert properties["dtype"]["enum"] == ["float32", "tf32", "bfloat16", "float16"]
    assert properties["a"]["contentMediaType"] == "application/x-npy"
    assert all(p.get("description") for p in properties.values())
    assert "gflops" in str(spec.output_schema) and "contentMediaType" in str(spec.output_schema)
    defaults = Arguments(matmul.matmul).build(b"{}", {})
    assert set(defaults) == set(properties)
    assert (defaults["n"], defaults["dtype"], defaults["a"]) == (1024, "float32", None)
