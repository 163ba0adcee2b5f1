"""Launchers: where stages run.

A launcher makes the slots that a run draws on, each with a worker: processes on this machine, jobs of a cluster. It is
given stages, never the graph, the ledger or the cache: the run that the user started decides what is made, publishes
results and writes the history, wherever the work is done. What another machine shares with this one is a folder.

To add one, create a file here with a subclass of `Launcher`, whose knobs are what its user must say (a queue, a limit).
It is chosen with `lorapipe run --on NAME`, or `--on "{type: NAME, knob: value}"`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.pipeline.execution.pool import Slot
from lorapipe.spec import Spec


@dataclass(frozen=True)
class Launcher(Spec, contract="type"):
    """A place where stages run."""

    in_this_process: ClassVar[bool] = False
    """Whether it runs them in the driver's own process, where they cannot be ended."""

    @abstractmethod
    def slots(self, devices: Sequence[str]) -> list[Slot]:
        """Room for jobs, side by side. `devices` are what the user asked for: `auto`, or `cuda:0`, `cuda:1` …

        At least one slot must have a device. Nothing is started before a slot's worker gets its first job.
        """
