"""Calls for trials: one at a time on the whole machine, each in a replica that is awake."""

import asyncio
import time
from collections.abc import Mapping

from loadtest.suite.results import Sample
from loadtest.suite.subject import CallFailed, Subject
from loadtest.suite.trial import Trial
from runtime.model import Device

SETTLE = 0.01  # seconds between calls on two devices: idle threads of the first spin for a while


class Caller:
    """One function's replicas, by device, and which of them ran last."""

    def __init__(self, subjects: Mapping[Device, Subject]) -> None:
        self.subjects = subjects
        self._last: Device | None = None

    async def call(self, trial: Trial) -> Sample | None:
        """Call once and note in the trial what came of it; the sample, if it gave one.

        A replica that has just started is woken by one more call before, which is not counted: the
        first pays for loading libraries and kernels.
        """
        if self._last not in (None, trial.device):
            await asyncio.sleep(SETTLE)
        self._last = trial.device
        subject = self.subjects[trial.device]
        began = time.perf_counter()
        try:
            if subject.fresh:
                await subject.call(trial.parameters, trial.timeout)
                began = time.perf_counter()
            answer = await subject.call(trial.parameters, trial.timeout)
            return trial.take(answer, time.perf_counter() - began)
        except CallFailed as error:
            trial.fail(error, time.perf_counter() - began)
            return None

    async def close(self) -> None:
        """End the replicas."""
        for subject in self.subjects.values():
            await subject.close()
