"""Parity of every case and size of a block: what is compared with what."""

from collections.abc import Mapping

from loadtest.suite.block import Block
from loadtest.suite.case import Case
from loadtest.suite.entry import Entry
from loadtest.suite.event import Tell
from loadtest.suite.parity import compared, unchecked
from loadtest.suite.results import Parity
from loadtest.suite.trial import Trial
from runtime.model import DEVICES, Device

NO_RULE = "the plan names no field to compare"
NO_CASE = "not in the plan: add a case with `parity` to compare its results"


class Agreement:
    """Whether the devices gave the same, for the cells of one block."""

    def __init__(self, block: Block, absent: Mapping[Device, str], tell: Tell) -> None:
        self.block = block
        self.absent = absent  # why a device is not measured
        self._tell = tell
        self._checked: dict[tuple[str, float], Parity] = {}
        self._too_long: dict[str, str] = {}  # by case: why its larger sizes are not compared

    async def check(self) -> None:
        """Look at every case and size; calls the CPU again where it was timed otherwise."""
        for case in self.block.cases:
            for size in case.sizes:
                parity = await self._of_size(case, size)
                self._checked[case.name, size] = parity
                told = {"case": case.name, "size": size, "holds": parity.holds}
                self._tell({"event": "parity", **told, "reason": parity.reason})

    def parities(self) -> list[Parity]:
        """One for every case and size, also where nobody came to it."""
        return [
            self._checked.get((case.name, size))
            or unchecked(case.name, size, self._without_calls(case) or "interrupted")
            for case in self.block.cases
            for size in case.sizes
        ]

    async def _of_size(self, case: Case, size: float) -> Parity:
        if reason := self._without_calls(case):
            return unchecked(case.name, size, reason)
        entries = {e.device: e for e in self.block.entries if e.case is case and e.size == size}
        gpu, cpu = entries["gpu"].trial, await self._cpu(entries["cpu"])
        if isinstance(cpu, str):
            return unchecked(case.name, size, cpu)
        for device, trial in (("cpu", cpu), ("gpu", gpu)):
            if not trial.seen:
                return unchecked(case.name, size, f"no result from the {device}: {_why(trial)}")
        numbers = case.numbers(gpu.parameters)
        return compared(case.name, size, case.parity, numbers, cpu.seen, gpu.seen)

    def _without_calls(self, case: Case) -> str | None:
        """Why nothing of a case can be compared, whatever its size."""
        for device in DEVICES:
            if device not in case.devices:
                return f"{case.spec.name} does not run on the {device}"
            if device in self.absent:
                return self.absent[device]
        if not case.parity:
            return NO_RULE if case.planned else NO_CASE
        return None

    async def _cpu(self, entry: Entry) -> Trial | str:
        """The CPU's results to compare with; why there are none."""
        case = entry.case
        if case.compare is None:
            return entry.trial
        parameters = case.parameters(case.compare, entry.size)
        if parameters == entry.trial.parameters:
            return entry.trial
        if why := self._too_long.get(case.name):
            return why
        limit = min(case.timeout, self.block.effort.longest)
        effort = self.block.effort.model_copy(update={"discard": 1})
        trial = Trial(
            "cpu",
            entry.size,
            parameters,
            seconds=case.seconds,
            fields=entry.trial.fields,
            timeout=limit,
            effort=effort,
            place=lambda: 0,
        )
        await self.block.caller.call(trial)
        if not trial.seen:
            self._too_long[case.name] = f"not compared: the CPU's call for it: {_why(trial)}"
        return trial if trial.seen else self._too_long[case.name]


def _why(trial: Trial) -> str:
    return trial.failures[0] if trial.failures else trial.stopped or "interrupted"
