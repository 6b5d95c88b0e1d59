"""What torch is and has, as a replica sees it."""

from typing import Any

import torch
from pydantic import BaseModel

from runtime import Context, function


class Torch(BaseModel):
    """torch's own words, unparsed."""

    version: str
    config: str  # torch.__config__.show()
    threads: int
    capability: str  # of the CPU: "AVX512"
    gpu: dict[str, Any] | None


@function(name="suite_torch", devices=("cpu", "gpu"), timeout=120)
def suite_torch(context: Context) -> Torch:
    """Tell torch's version, its libraries, its threads, and what the GPU is."""
    return Torch(
        version=torch.__version__,
        config=torch.__config__.show(),
        threads=torch.get_num_threads(),
        capability=torch.backends.cpu.get_cpu_capability(),
        gpu=gpu() if context.device.type == "cuda" else None,
    )


def gpu() -> dict[str, Any]:
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "memory": found.total_memory,
        "compute capability": f"{found.major}.{found.minor}",
        "SMs": found.multi_processor_count,
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
