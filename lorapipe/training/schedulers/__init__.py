"""Learning-rate schedulers.

A scheduler is a spec with one pure function: the factor on the learning rate at a step. It has no state, so a resumed
training needs none. Every scheduler supports a warm-up.

To add a scheduler, create a file here that implements `after`, or `shape` of `_falling.Falling` for a decaying rate.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import Spec, Warmup, param


@dataclass(frozen=True)
class Scheduler(Spec, contract="type"):
    """Factor on the learning rate over a training."""

    falls: ClassVar[bool] = False
    """Whether the learning rate is lower at the end than after the warm-up."""

    warmup: Warmup = param(
        Warmup(0),
        "length of the warm-up, in which the learning rate rises to its full value: '10 %', '100 steps', '1 epoch'; 5–10 % "
        "stabilises high rates",
        kohya=("lr_warmup_steps",),
    )

    def factor(self, step: int, total: int, per_epoch: float) -> float:
        """Return the factor on the learning rate at `step` (0 … total − 1); an epoch is `per_epoch` steps long.

        In a warm-up of w steps it is (step + 1)/(w + 1), never 0, which would waste a step and stop D-Adaptation for
        good; afterwards `after`, 0 … 1.
        """
        rising = self.warmup.steps(total, per_epoch)
        if step < rising:
            return (step + 1) / (rising + 1)
        return self.after((step - rising) / (total - rising))

    @abstractmethod
    def after(self, done: float) -> float:
        """Return the factor, 0 … 1, at `done` (0 ≤ done < 1), the fraction of the steps after the warm-up; 1 at 0."""
