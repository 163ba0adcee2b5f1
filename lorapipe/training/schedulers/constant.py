"""Constant learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.training.schedulers import Scheduler


@dataclass(frozen=True)
class Constant(Scheduler):
    """Constant learning rate. Adaptive optimizers need it: they estimate their own step size."""

    def after(self, done: float) -> float:
        return 1.0
