"""Workers: whatever runs jobs, one at a time, and tells what happens; and the pool of them that a run draws on.

A worker knows no pipeline and no ledger: it gets a job, tells events, and ends each job with one outcome. Where it lives
(this machine, a cluster) is its launcher's affair, see `lorapipe.pipeline.launchers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorapipe.pipeline.events import Event
from lorapipe.pipeline.job import Job


@dataclass(frozen=True)
class Done:
    """A job's good end: its artifact in JSON form."""

    artifact: dict[str, Any]


Message = Event | Done
"""What a worker tells: events, and as the last one of a job `Done` or `Failed`."""
Tell = Callable[[Message], None]


class Worker(ABC):
    """Something that runs jobs, one at a time, and keeps what is expensive (the base model) between them."""

    @abstractmethod
    def start(self, job: Job, tell: Tell) -> None:
        """Begin the job and return; `tell` is called from another thread, at last with `Done` or `Failed`."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Raise the stop flag of the job."""

    @abstractmethod
    def close(self) -> None:
        """End the worker now, and the job with it; `start` begins a new one."""

    @property
    @abstractmethod
    def is_warm(self) -> bool:
        """Whether it has started already, so that another job costs no start."""


@dataclass
class Slot:
    """Room for one job: on a device, or (`device` None) for stages that need none."""

    worker: Worker
    device: str | None = None
    device_lock: Path | None = None
    busy: bool = False


class Pool:
    """The slots of a run, or of several runs of one command: their workers stay warm in between."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._slots = tuple(slots)

    def free(self, needs_device: bool, spare_devices: bool) -> Slot | None:
        """A slot for a stage, a warm one if there is one.

        What needs no device takes a device's worker only if that is warm and, as `spare_devices` says, nobody is going
        to wait for it.
        """
        if needs_device:
            fitting = [slot for slot in self._slots if not slot.busy and slot.device is not None]
        else:
            fitting = [slot for slot in self._slots if not slot.busy and _fits_light(slot, spare_devices)]
        return max(fitting, key=lambda slot: slot.worker.is_warm, default=None)

    def close(self) -> None:
        """End every worker."""
        for slot in self._slots:
            slot.worker.close()


def _fits_light(slot: Slot, spare_devices: bool) -> bool:
    return slot.device is None or (spare_devices and slot.worker.is_warm)
