"""A console over parts that tests make up: functions, queues, replicas, history, letters."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import httpx
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from console.app import Console
from console.page import Section
from console.sources import Sources
from runtime.errors import LumbreError, Unavailable
from runtime.function import FunctionSpec, Resources, Scaling
from runtime.history import Window
from runtime.ledger import ScalingDecision
from runtime.lifeline import ReplicaLife, Segment
from runtime.model import Depth, Device, PoolState
from runtime.runs import Arrived
from runtime.scopes import Needs

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial", "Accept": "text/html"}
LONG = "a_function_whose_name_takes_sixty_characters_and_not_one_less"
AWAY = Unavailable("the ledger is away", 1)


def spec(name: str = "matmul", *devices: Device, **scaling: Any) -> FunctionSpec:
    """A function, scaled alike on each device."""
    on = devices or ("cpu",)
    return FunctionSpec(
        name=name,
        description="",
        file=f"{name}.py",
        attribute=name,
        version="v1",
        devices=on,
        timeout=60.0,
        cost=None,
        scaling={device: Scaling(**scaling) for device in on},
        resources=Resources(),
        max_attempts=3,
        batching=None,
        retries=None,
        streams=False,
        parameters=("n",),
        binary={},
        input_schema={
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "additionalProperties": False,
        },
        output_schema={},
    )


def life(name: str = "matmul-cpu-1", **changes: Any) -> ReplicaLife:
    """A replica that was spawned at 100, ready at 101, and works since 110."""
    segments = (
        Segment("starting", 100.0, 101.0),
        Segment("ready", 101.0, 110.0),
        Segment("busy", 110.0, changes.get("ended_at")),
    )
    values: dict[str, Any] = {
        "name": name,
        "function": "matmul",
        "device": "cpu",
        "simulated": False,
        "worker": "host-1",
        "pid": 4711,
        "gpu": None,
        "state": "ended" if changes.get("ended_at") else "busy",
        "spawned_at": 100.0,
        "ready_at": 101.0,
        "ended_at": None,
        "setup": 0.5,
        "served": 7,
        "busy": 3.0,
        "memory": 20_000_000,
        "gpu_memory": None,
        "ending": None,
        "segments": segments,
    }
    return ReplicaLife(**values | changes)


@dataclass
class Stage:
    """What the parts of the console's process say; tests set it."""

    specs: dict[str, FunctionSpec] = field(default_factory=dict)
    depths: dict[str, Depth] = field(default_factory=dict)
    states: dict[tuple[str, Device], PoolState] = field(default_factory=dict)
    replicas: list[ReplicaLife] = field(default_factory=list)
    past: list[ReplicaLife] | LumbreError = field(default_factory=list)
    made: list[ScalingDecision] | LumbreError = field(default_factory=list)
    window: Window | LumbreError | None = None
    arrived: list[Arrived] | LumbreError = field(default_factory=list)
    pending: Mapping[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    embedded: bool = True
    read_only: bool = False
    letters: Any = None
    clearance: Any = None
    broken: dict[str, Any] = field(default_factory=dict)

    def show(self, *specs: FunctionSpec) -> None:
        self.specs = {each.name: each for each in specs}

    def sources(self) -> Sources:
        fleet = SimpleNamespace(
            faults=lambda: self.faults,
            simulated=False,
            devices=lambda spec: list(spec.devices),
            depth=lambda queue: self.depths.get(queue, Depth()),
            pools=lambda spec: {
                d: self.states[spec.name, d] for d in spec.devices if (spec.name, d) in self.states
            },
            lives=lambda: self.replicas,
        )
        parts = SimpleNamespace(
            settings=SimpleNamespace(
                read_only=self.read_only,
                embedded=self.embedded,
                broker_url="memory://",
                ledger="sqlite:///x",
                own_url="http://here",
            ),
            fleet=fleet,
            catalog=SimpleNamespace(functions=self.specs, broken=self.broken),
            admission=SimpleNamespace(
                described=SimpleNamespace(is_set=lambda: True), function=self._function
            ),
            invocations=SimpleNamespace(recorder=SimpleNamespace(healthy=True), live={}),
            ledger=SimpleNamespace(
                census=SimpleNamespace(tallied=self._away, pending=self._pending),
                decisions=self._decisions,
                runs=SimpleNamespace(arrived=self._arrived),
            ),
            history=SimpleNamespace(window=self._window, replicas=self._past),
            latest_audit=SimpleNamespace(look=lambda: None),
            access=SimpleNamespace(enabled=False, needs=Needs()),
            letters=self.letters,
            clearance=self.clearance,
        )
        return cast(Sources, parts)

    async def _away(self) -> Any:
        raise AWAY

    async def _function(self, name: str) -> FunctionSpec:
        return self.specs[name]

    async def _pending(self, functions: Iterable[str], before: float, limit: int) -> Any:
        return {id: row for id, row in self.pending.items() if row.function in functions}

    async def _decisions(self, function: str | None, limit: int) -> list[ScalingDecision]:
        if isinstance(self.made, LumbreError):
            raise self.made
        return [each for each in self.made if function in (None, each.function)][:limit]

    async def _arrived(
        self, function: str, device: Device, since: float, limit: int
    ) -> list[Arrived]:
        if isinstance(self.arrived, LumbreError):
            raise self.arrived
        return [each for each in self.arrived if each.at >= since][:limit]

    async def _window(self, seconds: float) -> Window:
        if isinstance(self.window, LumbreError):
            raise self.window
        return self.window or Window(0.0, 5, 60, {}, [])

    async def _past(self, since: float) -> list[ReplicaLife]:
        if isinstance(self.past, LumbreError):
            raise self.past
        return self.past


class _Front:
    """The console before an API that answers everything else with `api PATH`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._console.takes(scope) or PlainTextResponse(f"api {scope['path']}")
        await app(scope, receive, send)


@asynccontextmanager
async def shown(stage: Stage, *sections: type[Any]) -> AsyncIterator[httpx.AsyncClient]:
    """A browser in front of these sections."""
    sources = stage.sources()
    made: list[Section] = [section(sources) for section in sections]
    console = Console(sources, made)
    transport = httpx.ASGITransport(_Front(console))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        client.headers.update(HTML)
        yield client
    await console.close()
