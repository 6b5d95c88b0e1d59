"""What a function sees of the invocation it runs: the `context` parameter.

A context lives in the replica for one attempt.  It never does I/O of its own: what it tells goes
through `emit`, which the replica gives it, and blobs through the store it is handed.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.blobs import Blobs
from runtime.errors import InvalidInput
from runtime.model import Device, Part

if TYPE_CHECKING:
    import torch

Event = dict[str, Any]
Emit = Callable[[Event], None]

log = logging.getLogger("lumbre.function")


class Context:
    """One attempt at one invocation, as the function sees it."""

    def __init__(
        self,
        device: Device,
        invocation_id: str = "0" * 32,
        *,
        attempt: int = 1,
        deadline: float | None = None,
        traceparent: str | None = None,
        simulated: bool = False,
        emit: Emit | None = None,
        blobs: Blobs | None = None,
        parts: tuple[Part, ...] = (),
    ) -> None:
        self.invocation_id = invocation_id
        self.attempt = attempt
        self.deadline = deadline  # unix seconds when this attempt is killed; None in a test
        self.traceparent = traceparent
        self.simulated = simulated  # a GPU replica that really computes on the CPU
        self.cancelled = False  # turns True when somebody cancels; the replica is killed soon after
        self.log = logging.LoggerAdapter(log, {"invocation": invocation_id})
        self.phases: dict[str, float] = {}
        self.outputs: list[Part] = []
        self.progress_events: list[Event] = []
        self._kind = device
        self._emit = emit or self.progress_events.append
        self._blobs = blobs
        self._parts = {part.name: part for part in parts}

    @classmethod
    def for_test(cls, device: Device = "cpu", *, folder: Path | None = None) -> "Context":
        """Make a context for calling a function as plain Python in a unit test.

        Progress lands in `progress_events`; blobs need a `folder` to be written to.
        """
        return cls(device, blobs=Blobs(folder.as_uri()) if folder else None)

    @property
    def device(self) -> "torch.device":
        """The torch device of this replica: the CPU, or the one GPU it can see."""
        import torch

        return torch.device("cuda" if self._kind == "gpu" and not self.simulated else "cpu")

    def progress(self, fraction: float | None = None, **values: Any) -> None:
        """Tell how far the work is: a fraction between 0 and 1, and any JSON values."""
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(f"progress(fraction={fraction!r}): give a number between 0 and 1")
        self._emit({"fraction": fraction, **values})

    @contextmanager
    def timer(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to the phase `name` of the timings.

        The caller synchronizes the device first: a GPU kernel that is only launched takes no time.
        """
        began = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - began

    def input_blob(self, name: str) -> bytes:
        """Read the bytes parameter `name` as it was uploaded."""
        part = self._parts.get(name)
        if part is None:
            raise InvalidInput(name, "was not uploaded")
        if part.data is not None:
            return part.data
        return self._store().read(part.key or "")

    def output_blob(self, name: str, data: bytes, media_type: str) -> str:
        """Keep `data` beside the result and get the link to it, to be put into the result."""
        if not name or "/" in name or name.startswith("."):
            raise ValueError(f"output_blob({name!r}): give a plain file name, such as weights.npz")
        key = f"{self.invocation_id}/{name}"
        self._store().write(key, data)
        self.outputs.append(Part(name, media_type, len(data), key=key))
        return f"/invocations/{self.invocation_id}/blobs/{name}"

    def _store(self) -> Blobs:
        if self._blobs is None:
            raise RuntimeError("this context has no blob store: Context.for_test(folder=tmp_path)")
        return self._blobs
