"""The check of a GPU, with a CPU in its place: what it says of one that is whole, wrong or gone."""

import pytest
import torch

from runtime.failure import describe_failure
from runtime.fitness import SIDE, UnfitGpu, check_gpu

real_matmul = torch.matmul


def test_what_computes_as_the_cpu_does_is_fit() -> None:
    check_gpu("0", device="cpu")


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_one_wrong_element_is_enough(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    products: list[torch.Tensor] = []

    def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        product = real_matmul(a, b)
        if not products:  # the first is the GPU's
            product[SIDE // 2, 3] = value
        products.append(product)
        return product

    monkeypatch.setattr(torch, "matmul", multiply)
    with pytest.raises(UnfitGpu, match=r"^GPU 3 failed its fitness check: 1 of 65,536 elements"):
        check_gpu("3", device="cpu")
    assert len(products) == 2


def test_small_differences_of_rounding_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = iter((1 + 1e-4, 1.0))
    monkeypatch.setattr(torch, "matmul", lambda a, b: real_matmul(a, b) * next(signs))
    check_gpu("0", device="cpu")


def test_a_gpu_that_raises_is_told_by_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nCompile with …")

    monkeypatch.setattr(torch, "matmul", broken)
    with pytest.raises(UnfitGpu) as raised:
        check_gpu("GPU-5d", device="cpu")
    told = describe_failure(raised.value)
    assert told["type"] == "UnfitGpu"
    assert told["message"] == (
        "GPU GPU-5d failed its fitness check: CUDA error: uncorrectable ECC error encountered"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_unfit() -> None:
    with pytest.raises(UnfitGpu, match=r"GPU 0 failed its fitness check: .*CUDA"):
        check_gpu("0")
