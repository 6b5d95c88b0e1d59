"""`@function`: a typed Python function and what Lumbre needs to know about it.

The signature is the schema: pydantic turns it into JSON Schema for the gateway, and back into
typed arguments in the replica.  A `FunctionSpec` is plain data, made where user code may be
imported (a throw-away child) and used where it may not (the gateway).
"""

import copy
import dataclasses
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from runtime.context import Context
from runtime.cost import Cost
from runtime.errors import ConfigurationError, InvalidInput
from runtime.model import DEVICES, Device

MARK = "__lumbre__"  # the attribute @function leaves on what it decorates
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED = frozenset({"device"})  # query parameters of POST /invoke that are not the function's


@dataclass(frozen=True, slots=True)
class MediaType:
    """Says what a bytes parameter or result holds: `Annotated[bytes, MediaType("image/png")]`."""

    name: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A result that is bytes of a media type, sent as the raw body of the answer."""

    data: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Resources:
    """What one replica needs.

    `cpu`: threads for torch and for OpenMP; None shares the machine's cores among `max_replicas`.
    `memory`: bytes one replica may hold (resident) before it is killed; None is 80 % of the
    machine's.
    """

    cpu: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Batching:
    """Gather up to `max_size` invocations, for at most `max_wait` seconds, and run them together.

    The function then takes one `list[T]`, where T is a pydantic model, dataclass or TypedDict that
    describes one invocation's parameters, and returns a list of as many results in the same order;
    an exception object in it fails that one invocation.
    """

    max_size: int
    max_wait: float = 0.01  # seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again when the function raises, after `backoff` × 2ⁿ seconds with full jitter.

    `on` names exception classes (`"ConnectionError"`, or dotted); subclasses count.  What the input
    or the result is to blame for is never tried again.
    """

    max_attempts: int = 3
    on: tuple[str, ...] = ("Exception",)
    backoff: float = 1.0  # seconds
    max_backoff: float = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Scaling:
    """How replicas of one device follow the backlog; every field means what it means to KEDA.

    Sources: KEDA's ScaledObject specification (2.20), and Kubernetes' HorizontalPodAutoscaler v2.
    """

    min_replicas: int = 0
    max_replicas: int | None = None  # None: as many as this machine has cores, or GPU slots
    target: float = 4  # backlog (ready + unacknowledged messages) per replica
    activation: float = 0  # 0 → 1 only when the backlog is above this
    polling_interval: float = 2.0  # seconds between two looks at the queue
    cooldown: float = 60.0  # seconds without backlog before the last replica goes
    stabilization_window: float = 60.0  # seconds a higher recommendation holds back scale-in
    tolerance: float = 0.1  # the HPA's: no change while the ratio is within 1 ± this


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """All that gateway, worker, autoscaler and manifests know about a function."""

    name: str
    description: str
    file: str  # path of the file that defines it
    attribute: str  # its name in that file
    version: (
        str  # of the file and what it imports from its folder; empty until the catalog fills it
    )
    devices: tuple[Device, ...]
    timeout: float  # seconds one attempt may run
    cost: str | None
    scaling: dict[Device, Scaling]
    resources: Resources
    max_attempts: int  # deliveries before an invocation whose replicas die is dead
    batching: Batching | None
    retries: Retry | None
    streams: bool  # a generator: each yield is an event
    parameters: tuple[str, ...]
    binary: dict[str, str]  # bytes parameters and their media types, in order
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What @function was told; the rest of the spec is read from the signature."""

    name: str
    devices: tuple[Device, ...]
    timeout: float
    cost: str | None
    scaling: dict[Device, Scaling]
    resources: Resources
    max_attempts: int
    batching: Batching | None
    retries: Retry | None


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@typing.overload
def function(target: Decorated, /) -> Decorated: ...
@typing.overload
def function(
    *,
    name: str | None = None,
    devices: Sequence[Device] = ("cpu",),
    timeout: float = 60.0,
    cost: str | None = None,
    scaling: Scaling | dict[Device, Scaling] | None = None,
    resources: Resources | None = None,
    max_attempts: int = 3,
    batching: Batching | None = None,
    retries: Retry | None = None,
) -> Callable[[Decorated], Decorated]: ...
def function(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    devices: Sequence[Device] = ("cpu",),
    timeout: float = 60.0,
    cost: str | None = None,
    scaling: Scaling | dict[Device, Scaling] | None = None,
    resources: Resources | None = None,
    max_attempts: int = 3,
    batching: Batching | None = None,
    retries: Retry | None = None,
) -> Any:
    """Make a function of a plain function, a generator function, or a class with `__call__`.

    What is decorated stays what it was and can be called as plain Python.  `cost` is relative work
    as an expression over the parameters (`"n ** 3"`, as runtime.cost takes them): it makes run
    times of different inputs comparable.  Raises ConfigurationError for a definition that cannot
    work, naming the argument and the way out.
    """

    def decorate(decorated: Any) -> Any:
        own = _snake(decorated.__name__) if name is None else name
        per_device = {d: scaling for d in devices} if isinstance(scaling, Scaling) else scaling
        declaration = Declaration(
            name=own,
            devices=tuple(devices),
            timeout=timeout,
            cost=cost,
            scaling=dict(per_device or {}),
            resources=resources or Resources(),
            max_attempts=max_attempts,
            batching=batching,
            retries=retries,
        )
        _check(declaration)
        setattr(decorated, MARK, declaration)
        return decorated

    return decorate if target is None else decorate(target)


def describe(target: Any, *, file: str, attribute: str) -> FunctionSpec:
    """Read the spec of something @function decorated; ConfigurationError where it cannot work."""
    declared: Declaration = getattr(target, MARK)
    arguments = Arguments(target)
    input_schema = arguments.schema()
    if declared.cost is not None:
        _check_cost(declared, input_schema)
    return FunctionSpec(
        name=declared.name,
        description=inspect.getdoc(target) or "",
        file=file,
        attribute=attribute,
        version="",
        devices=declared.devices,
        timeout=declared.timeout,
        cost=declared.cost,
        scaling={d: declared.scaling.get(d, Scaling()) for d in declared.devices},
        resources=declared.resources,
        max_attempts=declared.max_attempts,
        batching=declared.batching,
        retries=declared.retries,
        streams=inspect.isgeneratorfunction(arguments.signed),
        parameters=arguments.names,
        binary=arguments.binary,
        input_schema=input_schema,
        output_schema=_output_schema(arguments),
    )


def spec_from_json(data: dict[str, Any]) -> FunctionSpec:
    """Rebuild a spec from `dataclasses.asdict` that went through JSON."""
    return _SPEC.validate_python(data)


class Arguments:
    """The parameters of a function: JSON Schema one way, typed keyword arguments the other."""

    def __init__(self, target: Any) -> None:
        self.declared: Declaration = getattr(target, MARK)
        self.target = target
        if inspect.isclass(target) and not inspect.isfunction(target.__call__):
            raise self._wrong("is a class without __call__: write `def __call__(self, …)`")
        self.signed = target.__call__ if inspect.isclass(target) else target
        if inspect.iscoroutinefunction(self.signed) or inspect.isasyncgenfunction(self.signed):
            raise self._wrong(
                "is async; a replica runs one invocation at a time: write plain `def`"
            )
        try:
            self.hints = typing.get_type_hints(self.signed, include_extras=True)
        except NameError as error:
            raise self._wrong(f"has an annotation that cannot be resolved: {error}") from error
        self.takes_context: str | None = None
        fields = [field for p in self._parameters() if (field := self._field(p))]
        try:
            self.adapter = self._batched(fields) if self.declared.batching else self._shape(fields)
            properties = self.adapter.json_schema().get("properties", {})
        except PydanticUserError as error:
            what = error.message.partition("\n")[0].partition(". ")[0]
            raise self._wrong(
                f"has a parameter that JSON cannot fill ({what}): take numbers, strings, lists,"
                " dicts, pydantic models or bytes"
            ) from error
        self.names = tuple(properties if self.declared.batching else (n for n, _, _ in fields))
        self.binary: dict[str, str] = {}
        if not self.declared.batching:
            self.binary = {name: m for name, hint, _ in fields if (m := media_type_of(hint))}
        for taken in RESERVED.intersection(self.names):
            raise self._wrong(f"has a parameter named {taken!r}, which is reserved: rename it")

    def schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the parameters as one object, bytes parameters included."""
        schema = self.adapter.json_schema(schema_generator=_Schema)
        schema.setdefault("type", "object")
        schema.setdefault("properties", {})
        schema.setdefault("additionalProperties", False)
        schema.pop("description", None)
        for name, media_type in self.binary.items():
            given = schema["properties"][name]
            kept = {k: v for k, v in given.items() if k in ("description", "title")}
            schema["properties"][name] = kept | {"type": "string", "contentMediaType": media_type}
        return schema

    def build(self, parameters: bytes, blobs: dict[str, bytes]) -> Any:
        """Typed keyword arguments (one item, if batched) from JSON and bytes, or InvalidInput."""
        try:
            if blobs:
                value = self.adapter.validate_python(orjson.loads(parameters) | blobs)
            else:
                value = self.adapter.validate_json(parameters)
        except ValidationError as error:
            faults = [("".join(f"/{s}" for s in e["loc"]), e["msg"]) for e in error.errors()]
            raise InvalidInput(*faults[0], *faults[1:]) from None
        return value if self.declared.batching else dict(value.__dict__)

    def _parameters(self) -> list[inspect.Parameter]:
        parameters = list(inspect.signature(self.signed).parameters.values())
        return parameters[1:] if self.signed is not self.target else parameters  # without self

    def _field(self, parameter: inspect.Parameter) -> tuple[str, Any, Any] | None:
        name = parameter.name
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise self._wrong(
                f"takes {parameter}: give each parameter a name, since callers send a JSON object"
            )
        hint = self.hints.get(name)
        if hint is Context or (hint is None and name == "context"):
            self.takes_context = name
            return None
        if hint is None:
            raise self._wrong(f"has no type for parameter {name!r}: write `{name}: int`, say")
        if parameter.default is parameter.empty:
            return name, hint, dataclasses.field()
        default = parameter.default
        if type(default).__hash__ is None:  # a list, say: a fresh copy for each invocation
            return name, hint, dataclasses.field(default_factory=lambda: copy.deepcopy(default))
        return name, hint, dataclasses.field(default=default)

    def _shape(self, fields: list[tuple[str, Any, Any]]) -> TypeAdapter[Any]:
        namespace = {"__pydantic_config__": ConfigDict(extra="forbid")}
        return TypeAdapter(
            dataclasses.make_dataclass(
                self.declared.name, fields, kw_only=True, namespace=namespace
            )
        )

    def _batched(self, fields: list[tuple[str, Any, Any]]) -> TypeAdapter[Any]:
        if inspect.isgeneratorfunction(self.signed):
            raise self._wrong("is batched and a generator: return the list of results at once")
        if len(fields) != 1 or get_origin(fields[0][1]) is not list:
            raise self._wrong("is batched: let it take `items: list[Item]` and nothing else")
        (item,) = get_args(fields[0][1])
        adapter: TypeAdapter[Any] = TypeAdapter(item)
        if adapter.json_schema().get("type") != "object":
            raise self._wrong(
                f"is batched over {item!r}: use a pydantic model, dataclass or TypedDict, whose"
                " fields become the parameters of one invocation"
            )
        return adapter

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"function {self.declared.name!r} {what}")


class _Schema(GenerateJsonSchema):
    """Schema without the titles pydantic derives from names, and with defaults kept."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def media_type_of(hint: Any) -> str | None:
    """The media type of a bytes parameter, or None where the hint is of no bytes."""
    if hint is bytes:
        return "application/octet-stream"
    origin = get_origin(hint)
    if origin is Annotated:
        base, *extras = get_args(hint)
        inner = media_type_of(base)
        named = [e.name for e in extras if isinstance(e, MediaType)]
        return (named[0] if named else inner) if inner else None
    if origin in (Union, types.UnionType):
        return next((m for h in get_args(hint) if (m := media_type_of(h))), None)
    return None


def _output_schema(arguments: Arguments) -> dict[str, Any]:
    hint = arguments.hints.get("return", Any)
    if inspect.isgeneratorfunction(arguments.signed) and get_args(hint):
        hint = get_args(hint)[0]
    if arguments.declared.batching and get_origin(hint) is list:
        (hint,) = get_args(hint)
    return _schema_of(hint)


def _schema_of(hint: Any) -> dict[str, Any]:
    """JSON Schema of a result; bytes and Blob are said by media type; unknown types by `{}`."""
    if hint is Blob:
        return {"type": "string", "contentMediaType": "application/octet-stream"}
    if media_type := (
        None if get_origin(hint) in (Union, types.UnionType) else media_type_of(hint)
    ):
        return {"type": "string", "contentMediaType": media_type}
    if get_origin(hint) in (Union, types.UnionType):
        choices = [_schema_of(h) for h in get_args(hint)]
        shared = [choice.pop("$defs", {}) for choice in choices]  # references point at the root
        definitions = {name: d for defs in shared for name, d in defs.items()}
        return {"anyOf": choices} | ({"$defs": definitions} if definitions else {})
    try:
        return TypeAdapter(hint).json_schema(mode="serialization", schema_generator=_Schema)
    except (
        Exception
    ) as error:  # any type at all may be annotated; what it becomes shows at run time
        return {"description": f"not described: {type(error).__name__}"}


def _check(declared: Declaration) -> None:
    def wrong(argument: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"function {declared.name!r}: {argument} {what}")

    if not NAME.fullmatch(declared.name):
        raise wrong("name", "must be lower case letters, digits and _, start with a letter, ≤ 63")
    if not declared.devices or not set(declared.devices) <= set(DEVICES):
        raise wrong("devices", f"is {declared.devices!r}: give 'cpu', 'gpu' or both")
    if not _finite(declared.timeout) or not declared.timeout > 0:
        raise wrong("timeout", f"is {declared.timeout!r}: give seconds above 0, and not infinity")
    if declared.max_attempts < 1:
        raise wrong("max_attempts", "must be at least 1")
    if (batching := declared.batching) and (
        batching.max_size < 1 or not _finite(batching.max_wait) or batching.max_wait < 0
    ):
        raise wrong("batching", "needs max_size ≥ 1 and max_wait ≥ 0 seconds")
    if (retries := declared.retries) and (
        retries.max_attempts < 1
        or not _finite(retries.backoff, retries.max_backoff)
        or min(retries.backoff, retries.max_backoff) < 0
    ):
        raise wrong("retries", "needs max_attempts ≥ 1 and backoff ≥ 0 seconds")
    if retries and isinstance(retries.on, str):
        raise wrong("retries", f"has on={retries.on!r}: give a tuple of names, ({retries.on!r},)")
    if declared.resources.cpu is not None and declared.resources.cpu < 1:
        raise wrong("resources", f"has cpu={declared.resources.cpu}: give at least 1 thread")
    if declared.resources.memory is not None and not 0 < declared.resources.memory < 2**63:
        raise wrong("resources", f"has memory={declared.resources.memory}: give bytes above 0")
    for device, scaling in declared.scaling.items():
        if device not in declared.devices:
            raise wrong("scaling", f"names {device!r}, which is not among devices")
        if message := _scaling_fault(scaling):
            raise wrong(f"scaling[{device!r}]", message)


def _check_cost(declared: Declaration, input_schema: dict[str, Any]) -> None:
    try:
        Cost(declared.cost or "", input_schema)
    except ConfigurationError as error:
        raise ConfigurationError(f"function {declared.name!r}: cost {error}") from None


def _finite(*numbers: float) -> bool:
    """Whether each is a number, and neither infinite nor NaN, for which JSON has no word."""
    return all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)


def _scaling_fault(s: Scaling) -> str | None:
    durations = (s.polling_interval, s.cooldown, s.stabilization_window)
    if not _finite(s.target, s.activation, s.tolerance, *durations):
        return "takes finite numbers only"
    if s.min_replicas < 0:
        return "min_replicas must not be negative"
    if s.max_replicas is not None and s.max_replicas < max(1, s.min_replicas):
        return "max_replicas must be at least 1 and at least min_replicas"
    if not s.target > 0:
        return "target must be above 0"
    if s.activation < 0:
        return "activation must not be negative"
    if not s.polling_interval > 0:
        return "polling_interval must be above 0 seconds"
    if s.cooldown < 0 or s.stabilization_window < 0 or s.tolerance < 0:
        return "cooldown, stabilization_window and tolerance must not be negative"
    return None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


_SPEC: TypeAdapter[FunctionSpec] = TypeAdapter(FunctionSpec)
