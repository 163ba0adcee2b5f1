"""Decaying learning rates."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.schedulers import Scheduler


@dataclass(frozen=True)
class Falling(Scheduler):
    """Decay of the learning rate from 1 to `end`."""

    falls: ClassVar[bool] = True

    end: float = param(
        0.0,
        "final learning rate, as a fraction of the full one: 0.1 keeps it learning to the last step",
        ge=0,
        lt=1,
        kohya=("lr_scheduler_min_lr_ratio",),
    )

    def after(self, done: float) -> float:
        return self.end + (1 - self.end) * self.shape(done)

    @abstractmethod
    def shape(self, done: float) -> float:
        """Return the decay from 1 at `done` = 0 towards 0 at `done` = 1."""
