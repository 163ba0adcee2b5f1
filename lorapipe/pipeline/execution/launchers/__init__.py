"""Launchers: where stages run.

A launcher makes the slots of a run, each with a worker: a process on this machine, a job of a cluster. Workers get
stages, never the graph or the ledger: the run that the user started decides which stages run, publishes their results
and writes the history. Another machine needs only a folder that it shares with this one.

To add one, create a file here with a subclass of `Launcher`; its knobs are the settings (a queue, a limit).
Users choose it with `lorapipe run --on NAME`, or `--on "{type: NAME, knob: value}"`.
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
    """Whether stages run in the driver's own process, where they cannot be killed."""

    @abstractmethod
    def slots(self, devices: Sequence[str]) -> list[Slot]:
        """Return the slots for concurrent jobs. `devices` are the user's: `auto`, or `cuda:0`, `cuda:1` …

        At least one slot must have a device. A slot's worker starts with its first job, not before.
        """
