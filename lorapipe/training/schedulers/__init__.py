"""Schedulers: how the learning rate changes over a training.

A scheduler is a spec with one pure function: the factor on the rate, by how much of the training has passed. It has no
state, so a resumed training needs none. All of them can begin with a warm-up.

To add one, create a file here: `after` alone, or, where the rate falls to an end, `shape` of `_falling.Falling`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import Spec, Warmup, param


@dataclass(frozen=True)
class Scheduler(Spec, contract="type"):
    """The shape of the learning rate."""

    falls: ClassVar[bool] = False
    """Whether the rate is lower at the end than after the warm-up."""

    warmup: Warmup = param(
        Warmup(0),
        "how long the rate rises to its full height at first: '10 %', '100 steps', '1 epoch'; 5–10 % calms high rates",
        kohya=("lr_warmup_steps",),
    )

    def factor(self, step: int, total: int, per_epoch: float) -> float:
        """The factor on the learning rate for update `step` (0 … total − 1), an epoch being `per_epoch` updates.

        Within the warm-up of w updates (step + 1)/(w + 1): never 0, which would waste a step and stops D-Adaptation
        for good. Afterwards `after`, 0 … 1.
        """
        rising = self.warmup.steps(total, per_epoch)
        if step < rising:
            return (step + 1) / (rising + 1)
        return self.after((step - rising) / (total - rising))

    @abstractmethod
    def after(self, done: float) -> float:
        """The factor, 0 … 1, where `done` (0 ≤ done < 1) of all that follows the warm-up has passed; 1 at first."""
