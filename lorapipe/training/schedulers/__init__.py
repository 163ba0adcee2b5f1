"""Schedulers: how the learning rate changes over a training.

A scheduler is a spec with one pure function: the factor on the rate at a step. It has no state, so a resumed training
needs none.

To add one, create a file here.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from lorapipe.spec import Spec


@dataclass(frozen=True)
class Scheduler(Spec, contract="type"):
    """The shape of the learning rate."""

    @abstractmethod
    def factor(self, step: int, total: int) -> float:
        """The factor, 0 … 1, on the learning rate for update `step` (0 … total − 1); never 0 throughout."""
