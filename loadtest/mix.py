"""The requests of a load test, drawn one after the other from the shares of its mix."""

import functools
import itertools
import math
import random
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

from loadtest import request
from loadtest.request import Request, Upload
from loadtest.share import Choice, DeviceChoice, LogUniform, Share, Uniform
from runtime.errors import ConfigurationError

KEPT = 4096  # requests of one share that are made once and sent again
MAX_FILE = 256 * 2**20  # bytes

Drawn = tuple[Hashable, Any]  # what tells a value from others of its parameter, and the value
Draw = Callable[[], Drawn]


class Mix:
    """Draws requests, each share as often as its weight says.

    The same shares and an `rng` in the same state give the same sequence.  Files are read here,
    relative to `folder`; ConfigurationError for one that cannot be.  Not thread-safe.
    """

    def __init__(self, shares: Sequence[Share], rng: random.Random, folder: Path) -> None:
        if not shares:
            raise ConfigurationError("the mix is empty: write mix: [{function: NAME}]")
        self._rng = rng
        self._sources = [_Source(share, rng, folder) for share in shares]
        self._weights = list(itertools.accumulate(share.weight for share in shares))

    def next(self) -> Request:
        """The next request; one that was drawn before is the same object, if it is still kept."""
        sources = self._sources
        if len(sources) == 1:
            return sources[0].next()
        return self._rng.choices(sources, cum_weights=self._weights)[0].next()


class _Source:
    """Draws the requests of one share."""

    def __init__(self, share: Share, rng: random.Random, folder: Path) -> None:
        self._share = share
        self._literal: dict[str, Any] = {}
        self._names: list[str] = []
        self._draws: list[Draw] = [_device(share.device, rng)]
        for name, parameter in share.parameters.items():
            if isinstance(parameter, Choice | Uniform | LogUniform):
                self._names.append(name)
                self._draws.append(_draw(parameter, rng))
            else:
                self._literal[name] = parameter
        self._body = None if share.body is None else _read(folder, share.body, share)
        self._files = {name: _read(folder, p, share) for name, p in (share.file or {}).items()}
        self._made: dict[tuple[Hashable, ...], Request] = {}

    def next(self) -> Request:
        drawn = [draw() for draw in self._draws]
        key = tuple([key for key, _ in drawn])
        made = self._made.get(key)
        if made is None:
            made = self._make([value for _, value in drawn])
            if len(self._made) < KEPT:
                self._made[key] = made
        return made

    def _make(self, drawn: list[Any]) -> Request:
        share, device = self._share, drawn[0]
        values = self._literal | dict(zip(self._names, drawn[1:], strict=True))
        parameters = {name: values[name] for name in share.parameters}  # in the plan's order
        if self._body is not None:
            return request.of_body(share.function, device, parameters, self._body, wait=share.wait)
        if self._files:
            return request.of_form(share.function, device, parameters, self._files, wait=share.wait)
        return request.of_parameters(share.function, device, parameters, wait=share.wait)


def _read(folder: Path, path: str, share: Share) -> Upload:
    file = folder / path
    try:
        if file.stat().st_size > MAX_FILE:
            raise ConfigurationError(f"{file}: is over {MAX_FILE:,} bytes: send a smaller file")
        return Upload.read(file)
    except OSError as error:
        raise ConfigurationError(
            f"{file}: cannot be read ({error.strerror or error}), and the mix sends it to"
            f" {share.function}: name a file that is there, relative to the plan"
        ) from error


def _device(device: str | DeviceChoice | None, rng: random.Random) -> Draw:
    if isinstance(device, DeviceChoice):
        return _choice(device.choice, device.weights, rng)
    drawn = (None, device or "auto")
    return lambda: drawn


def _draw(parameter: Choice | Uniform | LogUniform, rng: random.Random) -> Draw:
    match parameter:
        case Choice(choice=values, weights=weights):
            return _choice(values, weights, rng)
        case Uniform(uniform=(low, high)):
            if isinstance(low, int) and isinstance(high, int):
                return _itself(functools.partial(rng.randint, low, high))
            return _itself(functools.partial(rng.uniform, low, high))
        case LogUniform(log_uniform=(low, high)):
            if isinstance(low, int) and isinstance(high, int):
                return _log_integers(low, high, rng)
            return _log_numbers(low, high, rng)


def _choice(values: Sequence[Any], weights: Sequence[float] | None, rng: random.Random) -> Draw:
    options = list(enumerate(values))
    if weights is None:
        return lambda: rng.choice(options)
    sums = list(itertools.accumulate(weights))
    return lambda: rng.choices(options, cum_weights=sums)[0]


def _log_numbers(low: float, high: float, rng: random.Random) -> Draw:
    """Numbers whose logarithm is uniform."""
    first, last = math.log(low), math.log(high)
    return _itself(lambda: min(high, max(low, math.exp(rng.uniform(first, last)))))


def _log_integers(low: int, high: int, rng: random.Random) -> Draw:
    """Integers k with a chance of ln((k + 1) / k): the whole part of a log-uniform number."""
    first, last = math.log(low), math.log(high + 1)
    return _itself(lambda: min(high, max(low, int(math.exp(rng.uniform(first, last))))))


def _itself(draw: Callable[[], Any]) -> Draw:
    def drawn() -> Drawn:
        value = draw()
        return value, value

    return drawn
