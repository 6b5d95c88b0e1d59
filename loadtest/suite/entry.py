"""A cell of the results beside the trial that measures it."""

from dataclasses import dataclass

from loadtest.suite.case import Case
from loadtest.suite.results import Cell
from loadtest.suite.trial import Trial
from runtime.model import Device


@dataclass(frozen=True, slots=True)
class Entry:
    """One case at one size on one device; cells that are called alike have one trial."""

    case: Case
    device: Device
    size: float
    trial: Trial

    def cell(self) -> Cell:
        """What is known of it by now."""
        case, trial = self.case, self.trial
        return Cell(
            case=case.name,
            function=case.spec.name,
            device=self.device,
            axis=case.axis,
            size=self.size,
            parameters=trial.parameters,
            work=case.amount(trial.parameters),
            unit=case.work.unit if case.work else None,
            ceiling=case.ceiling(trial.parameters),
            samples=tuple(trial.samples),
            failures=tuple(trial.failures),
            stopped=trial.stopped or "interrupted",
        )
