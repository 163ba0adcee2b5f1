"""The same rate throughout."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.training.schedulers import Scheduler


@dataclass(frozen=True)
class Constant(Scheduler):
    """The rate as given, from first to last. What adaptive optimizers expect: they find their own step size."""

    def after(self, done: float) -> float:
        return 1.0
