"""Rates that fall."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.schedulers import Scheduler


@dataclass(frozen=True)
class Falling(Scheduler):
    """A rate that falls from its full height to `end` of it."""

    falls: ClassVar[bool] = True

    end: float = param(
        0.0,
        "the share of the rate at which it ends: 0.1 keeps it learning to the last step",
        ge=0,
        lt=1,
        kohya=("lr_scheduler_min_lr_ratio",),
    )

    def after(self, done: float) -> float:
        return self.end + (1 - self.end) * self.shape(done)

    @abstractmethod
    def shape(self, done: float) -> float:
        """The way from 1 at `done` = 0 towards 0 at `done` = 1."""
