"""Processes on this machine: one for each device, and a few for stages without a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.pipeline.execution.launchers._subprocess import Process, SideJobsLauncher
from lorapipe.pipeline.execution.pool import Slot


@dataclass(frozen=True)
class Local(SideJobsLauncher):
    """Processes on this machine, one for each device."""

    def slots(self, devices: Sequence[str]) -> list[Slot]:
        return [*self.side_slots(), *(Slot(Process(), device, shares_device=True) for device in devices)]
