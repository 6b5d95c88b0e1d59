"""Runs of the suite that never were, for tests of what is computed and written from them.

EVERY NUMBER HERE IS MADE UP: seconds are a fixed overhead plus work at a rate that a machine of
this kind might have, with noise from a seed.  Nothing made here belongs into docs/.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from loadtest.suite.results import (
    Ceiling,
    Cell,
    Check,
    Cold,
    DeviceFacts,
    Parity,
    Results,
    Sample,
)
from runtime.model import Device

Gpu = Literal["real", "simulated"] | None


@dataclass(frozen=True, slots=True)
class Made:
    """A case as a made-up machine would run it; rates are work a second."""

    case: str
    function: str
    sizes: tuple[int, ...]
    work: Callable[[float], float]
    unit: Literal["FLOP", "B"]
    ceiling: str
    rates: tuple[float, float]  # CPU, GPU
    overheads: tuple[float, float]  # seconds that even the least work takes
    moved: Callable[[float], tuple[float, float]]  # bytes in and out
    parameters: dict[str, Any] = field(hash=False)


LADDER = (64, 256, 1024, 4096, 8192)


def _matmul(dtype: str, itemsize: int, rates: tuple[float, float]) -> Made:
    return Made(
        f"matmul {dtype}",
        "matmul",
        LADDER,
        lambda n: 2 * n**3,
        "FLOP",
        f"matmul {dtype}",
        rates,
        (4e-6, 1.4e-5),
        lambda n: (2.0 * itemsize * n * n, 1.0 * itemsize * n * n),
        {"dtype": dtype, "seed": 7, "repeat": 3},
    )


MATMULS = (
    _matmul("float32", 4, (1.5e12, 4.9e13)),
    _matmul("tf32", 4, (1.5e12, 3.8e14)),
    _matmul("bfloat16", 2, (3.1e12, 6.9e14)),
    _matmul("float16", 2, (1.4e12, 6.7e14)),
)
VECTOR_ADD = Made(
    "vector_add float32",
    "vector_add",
    (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000),
    lambda n: 12.0 * n,
    "B",
    "copy",
    (1.1e11, 3.7e12),
    (2e-6, 9e-6),
    lambda n: (8.0 * n, 4.0 * n),
    {"dtype": "float32", "seed": 7, "repeat": 3},
)
NETWORK = Made(
    "neural_network mlp",
    "neural_network",
    (1_000, 10_000, 50_000),
    lambda n: 6.0e6 * n,
    "FLOP",
    "matmul float32",
    (4.0e11, 1.2e13),
    (4e-3, 2.2e-2),
    lambda n: (3_136.0 * n, 4e5),
    {"model": "mlp", "seed": 7, "epochs": 1},
)
BLUR = Made(
    "image_filter blur",
    "image_filter",
    (128, 512, 2048),
    lambda n: 24.0 * n * n * 8,
    "B",
    "copy",
    (2.2e10, 1.9e12),
    (3e-5, 4e-5),
    lambda n: (12.0 * n * n * 8, 12.0 * n * n * 8),
    {"filter": "blur", "batch": 8, "seed": 7, "repeat": 3},
)
SOBEL = replace(
    BLUR, case="image_filter sobel", rates=(1.6e10, 1.7e12), parameters={"filter": "sobel"}
)
FOUR = (MATMULS[2], NETWORK, VECTOR_ADD, BLUR)
EIGHT = (*MATMULS, NETWORK, VECTOR_ADD, BLUR, SOBEL)

CPU = DeviceFacts(
    "cpu", "AMD EPYC 9654 (made up)", False, 16, [("BLAS", "mkl"), ("vectors", "AVX512")]
)
H200 = DeviceFacts(
    "gpu",
    "NVIDIA H200 (made up)",
    False,
    None,
    [("memory", "139.8 GiB"), ("driver", "570.124"), ("compute capability", "9.0")],
)
NO_GPU = "no GPU here: torch sees no CUDA device"
LINK = 5.2e10  # bytes a second between host and GPU, pinned
PARITY_RULE = "|cpu − gpu| ≤ 1e-4 × n ** 1.5"


@cache
def made(
    gpu: Gpu = "real",
    cases: tuple[Made, ...] = FOUR,
    samples: int = 24,
    seed: int = 1,
    slower: float = 1.0,
) -> Results:
    """A run that went well; `slower` stretches all that is computed, as a worse revision would."""
    rng = random.Random(seed)
    cells = [cell for case in cases for cell in _cells(case, gpu, samples, rng, slower)]
    return Results(
        began_at="2026-11-23T09:30:00Z",
        seconds=842.0,
        quick=False,
        seed=seed,
        plan="loadtest/plans/bench.yaml",
        confidence=0.95,
        precision=0.05,
        machine=_machine(),
        load_before="0.12, 0.20, 0.31",
        load_after="3.20, 2.80, 1.90",
        devices=_devices(gpu),
        ceilings=_ceilings(gpu, rng),
        cells=tuple(cells),
        colds=tuple(_colds(cells, rng)),
        parities=tuple(_parity(case, size, gpu) for case in cases for size in case.sizes),
        notes=() if gpu else (NO_GPU,),
    )


def parity_failing(results: Results, case: str, size: float) -> Results:
    """The same run with results that differ at one size."""
    broken = Check("checksum", 15234.25, 15871.5, PARITY_RULE, False)
    return replace(
        results,
        parities=tuple(
            replace(p, holds=False, checks=(broken, *p.checks[1:]))
            if (p.case, p.size) == (case, size)
            else p
            for p in results.parities
        ),
    )


def half_failing(results: Results, function: str, device: Device, why: str) -> Results:
    """The same run, but every other call of one function failed on one device."""

    def halved(cell: Cell) -> Cell:
        if (cell.function, cell.device) != (function, device):
            return cell
        return replace(
            cell,
            samples=cell.samples[::2],
            failures=(why,) * len(cell.samples[1::2]),
            stopped="failures",
        )

    return replace(results, cells=tuple(halved(cell) for cell in results.cells))


def all_failing(results: Results, case: str, device: Device, why: str) -> Results:
    """The same run, but not one call of a case succeeded on one device."""
    return replace(
        results,
        cells=tuple(
            replace(cell, samples=(), failures=(why,) * 3, stopped="failures")
            if (cell.case, cell.device) == (case, device)
            else cell
            for cell in results.cells
        ),
    )


def interrupted(results: Results, cells: int) -> Results:
    """The same run, ended by Ctrl-C after some cells, before anything was compared."""
    kept = results.cells[:cells]
    last = replace(kept[-1], samples=kept[-1].samples[:2], stopped="interrupted")
    return replace(
        results,
        cells=(*kept[:-1], last),
        colds=(),
        parities=(),
        interrupted="Ctrl-C after 61 s",
        notes=(*results.notes, "the results of CPU and GPU were not compared: the run ended early"),
    )


def _machine() -> list[tuple[str, str]]:
    return [
        ("date", "2026-11-23 09:30 UTC"),
        ("revision", "0123456789ab"),
        ("CPU", "AMD EPYC 9654 (made up)"),
        ("cores", "16 of 16"),
        ("memory", "128.0 GiB"),
        ("kernel", "Linux 6.8.0"),
        ("Python", "3.11.9 (CPython)"),
        ("packages", "torch 2.13.0, numpy 2.4.6"),
    ]


def _devices(gpu: Gpu) -> tuple[DeviceFacts, ...]:
    if gpu is None:
        return (CPU,)
    return (CPU, H200 if gpu == "real" else replace(CPU, kind="gpu", simulated=True))


def _ceilings(gpu: Gpu, rng: random.Random) -> tuple[Ceiling, ...]:
    tops = {
        "matmul float32": (1.62e12, 5.1e13),
        "matmul tf32": (1.62e12, 4.2e14),
        "matmul bfloat16": (3.4e12, 7.6e14),
        "matmul float16": (1.5e12, 7.5e14),
        "copy": (1.6e11, 4.0e12),
    }
    devices: list[Device] = ["cpu", "gpu"] if gpu else ["cpu"]
    found = []
    for device in devices:
        for name, rates in tops.items():
            rate = rates[1] if device == "gpu" and gpu == "real" else rates[0]
            unit: Literal["FLOP/s", "B/s"] = "B/s" if name == "copy" else "FLOP/s"
            detail = "1 GiB, 10 repetitions after 3 discarded" if name == "copy" else "8192 × 8192"
            repeated = tuple(_noisy(rate, rng) for _ in range(10))
            found.append(Ceiling(device, name, unit, repeated, detail))
    if gpu == "real":
        for name in ("transfer_in", "transfer_out"):
            repeated = tuple(_noisy(1.05 * LINK, rng) for _ in range(10))
            found.append(Ceiling("gpu", name, "B/s", repeated, "256 MiB, pinned, 10 repetitions"))
    return tuple(found)


def _cells(case: Made, gpu: Gpu, samples: int, rng: random.Random, slower: float) -> list[Cell]:
    devices: list[Device] = ["cpu", "gpu"] if gpu else ["cpu"]
    return [
        Cell(
            case.case,
            case.function,
            device,
            "n",
            float(size),
            {"n": size, **case.parameters},
            case.work(size),
            case.unit,
            case.ceiling,
            tuple(_sample(case, size, device, gpu, rng, slower) for _ in range(samples)),
            (),
            f"± 3 % after {samples}",
        )
        for size in case.sizes
        for device in devices
    ]


def _sample(
    case: Made, size: float, device: Device, gpu: Gpu, rng: random.Random, slower: float
) -> Sample:
    real = device == "gpu" and gpu == "real"
    fixed, rate = case.overheads[real], case.rates[real]
    seconds = _noisy(fixed + case.work(size) / rate, rng) * slower
    sent, back = case.moved(size) if real else (0.0, 0.0)
    transfer_in = _noisy(1.1e-5 + sent / LINK, rng) if real else 0.0
    transfer_out = _noisy(1.2e-5 + back / LINK, rng) if real else 0.0
    whole = 3 * seconds + transfer_in + transfer_out + 2e-4 + 5e-9 * sum(case.moved(size))
    return Sample(rng.randrange(10_000), seconds, transfer_in, transfer_out, whole)


def _colds(cells: list[Cell], rng: random.Random) -> list[Cold]:
    firsts = [cell for cell in cells if cell.size == min(c.size for c in cells if _same(c, cell))]
    found = []
    for cell in firsts:
        warm = sorted(sample.run for sample in cell.samples)[len(cell.samples) // 2]
        heavy = cell.device == "gpu" and any(sample.transfer_in for sample in cell.samples)
        for order in range(5):
            start = _noisy(0.21 if heavy else 0.024, rng)
            first = _noisy(0.31 if heavy else 0.006, rng) + warm
            found.append(
                Cold(cell.function, cell.case, cell.device, cell.size, order, start, first, warm)
            )
    return found


def _same(a: Cell, b: Cell) -> bool:
    return (a.case, a.device) == (b.case, b.device)


def _parity(case: Made, size: float, gpu: Gpu) -> Parity:
    if gpu is None:
        return Parity(case.case, float(size), None, (), "no GPU here")
    checks = (
        Check("checksum", 15234.25, 15234.75, PARITY_RULE, True),
        Check("relative_error", 3.1e-7, 4.4e-7, "each ≤ 1e-5", True),
    )
    return Parity(case.case, float(size), True, checks, "")


def _noisy(value: float, rng: random.Random) -> float:
    """As a machine varies: a few per cent, and now and then a third more."""
    late = 1 + 0.35 * rng.random() if rng.random() < 0.06 else 1.0
    return value * late * rng.lognormvariate(0, 0.02)
