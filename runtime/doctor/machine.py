"""Looks at this machine: versions, GPUs, and the port a gateway would listen on."""

import asyncio
import contextlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx

from runtime import database, schema
from runtime.devices import find_machine
from runtime.errors import ConfigurationError
from runtime.finding import Finding, ok, problem, warning
from runtime.keys import Keys
from runtime.settings import Settings

TORCH = 30.0  # seconds; a cold import takes many
ANSWER = 3.0  # seconds

# In a process of its own: torch is large, and CUDA once initialized is there for good.
PROBE = """
import json, sys
try:
    import torch
    found = {"version": torch.__version__, "cuda": torch.version.cuda}
    found["gpus"] = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found["gpus"]:
        torch.zeros(1, device="cuda").add_(1).item()
except ImportError as error:
    found = {"missing": str(error)}
except Exception as error:
    found["fault"] = str(error).splitlines()[0]
print(json.dumps(found))
"""


async def examine_versions() -> list[Finding]:
    """Python, Lumbre, and libraries of which only some versions have been held against ours."""
    from runtime.brokers.fast import KNOWN as PIKAS
    from runtime.http import KNOWN as UVICORN

    told = [f"Lumbre {_version('lumbre') or 'from source'}", f"Python {platform.python_version()}"]
    told += [f"{name} {_version(name) or 'none'}" for name in ("torch", "pika", "uvicorn")]
    found = [ok("versions", ", ".join(told))]
    if (pika := _version("pika")) not in PIKAS:
        text = f"pika {pika} is taken the slow way: {', '.join(sorted(PIKAS))} are known"
        found.append(warning("versions", text, f"pip install pika=={max(PIKAS)}"))
    if not UVICORN:
        text = f"uvicorn {_version('uvicorn')} is taken the slow way: it is not one we know"
        found.append(warning("versions", text))
    return found


async def examine_gpus(settings: Settings) -> list[Finding]:
    """The GPUs there are, and whether torch can compute on them."""
    machine, torch = await asyncio.gather(asyncio.to_thread(find_machine, settings), _ask_torch())
    if machine.simulated:
        return [ok("gpu", f"simulated: {machine.gpu_slots} replicas that compute on the CPU")]
    if not machine.gpus:
        return [_without_gpu(settings, torch)]
    names = ", ".join(f"{gpu.name} ({gpu.memory / 2**30:.0f} GiB)" for gpu in machine.gpus)
    fault = _torch_fault(torch)
    if fault:
        advice = "install a torch for this driver: https://pytorch.org/get-started"
        return [problem("gpu", f"{names}, but {fault}", advice)]
    shown = f"torch {torch['version']} for CUDA {torch['cuda']}"
    return [ok("gpu", f"{names}; {shown} computes on it; at most {machine.gpu_slots} at once")]


async def examine_port(settings: Settings) -> list[Finding]:
    """Whether a gateway could listen there, or does."""
    from runtime.serving import check_address, listen

    check_address(settings, keys=await _asks_for_keys(settings))
    try:
        listen(settings).close()
    except ConfigurationError as error:
        return [await _who_listens(settings, error)]
    port = settings.port or "a free one"
    return [ok("port", f"{port} on {settings.host} can be taken")]


async def _asks_for_keys(settings: Settings) -> bool:
    """Whether a gateway would, by its settings and the ledger, which is only looked at."""
    from runtime.serving import LOOPBACK

    if settings.keys != "auto" or settings.insecure or settings.host in LOOPBACK:
        return settings.keys == "on"
    url = database.address(settings.ledger)
    if url.get_backend_name() == "sqlite" and not Path(f"{url.database}").exists():
        return False
    opened = await database.connect(url)
    try:
        async with opened.preparing() as connection:
            found = await opened.revision(connection)
        return found == schema.REVISION and bool(await Keys(opened).held())
    finally:
        await opened.close()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# ── GPUs ──────────────────────────────────────────────────────────────────────────────────────


async def _ask_torch() -> dict[str, Any]:
    """What torch says of itself, in a child: `missing`, or `version`, `cuda`, `gpus`, `fault`."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", PROBE),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said, _ = await child.communicate()
        told: dict[str, Any] = json.loads(said)
        return told
    except ValueError:
        return {"version": "", "cuda": None, "gpus": 0, "fault": f"it ended: {child.returncode}"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()


def _without_gpu(settings: Settings, torch: dict[str, Any]) -> Finding:
    where = "no GPU here" + ("" if "missing" in torch else f"; torch {torch['version']}")
    if settings.embedded and "gpu" in settings.devices:
        advice = "LUMBRE_DEVICES=auto, or --simulate-gpu to try it out"
        return problem("gpu", f"{where}, and LUMBRE_DEVICES={settings.devices}", advice)
    if torch.get("gpus"):
        text = f"torch sees {torch['gpus']} GPUs, and nvidia-smi lists none"
        return warning("gpu", text, "install nvidia-smi, by which they are found")
    return ok("gpu", f"{where}: functions run on the CPU")


def _torch_fault(torch: dict[str, Any]) -> str | None:
    if "missing" in torch:
        return f"torch cannot be imported ({torch['missing']})"
    if torch.get("fault"):
        return f"torch {torch['version']} cannot compute on it ({torch['fault']})"
    if not torch["gpus"]:
        made = f"made for CUDA {torch['cuda']}" if torch["cuda"] else "made for the CPU"
        return f"torch {torch['version']} ({made}) does not see it"
    return None


# ── the port ──────────────────────────────────────────────────────────────────────────────────


async def _who_listens(settings: Settings, taken: ConfigurationError) -> Finding:
    """Who has the port: a gateway, and how it is, or somebody else."""
    url = settings.model_copy(update={"public_url": ""}).own_url
    try:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER, trust_env=False) as client:
            health = await client.get("/healthz")
            if health.status_code != 200 or health.json() != {"status": "alive"}:
                return problem("port", f"{taken}")
            ready = await client.get("/readyz")
    except (httpx.HTTPError, ValueError):
        return problem("port", f"{taken}")
    if ready.status_code == 200:
        return ok("port", f"a gateway answers at {url}, and takes work")
    why = ready.json().get("detail", f"HTTP {ready.status_code}")
    return warning("port", f"a gateway answers at {url}, and takes no work: {why}")
