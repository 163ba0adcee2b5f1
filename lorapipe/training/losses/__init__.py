"""Losses: how far a prediction is from its target.

A loss is a spec with one pure function over tensors. The loop takes the mean over each sample's elements and then
weighs the samples (`lorapipe.training.weightings`), in that order, as kohya's sd-scripts does.

To add one, create a file here; import torch inside `__call__`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Loss(Spec, contract="type"):
    """The distance between prediction and target: 0 where they are equal, never negative."""

    @abstractmethod
    def __call__(
        self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor, alphas_cumprod: torch.Tensor
    ) -> torch.Tensor:
        """Elementwise loss of two (B, C, h, w) tensors of any floating type, in float32, not reduced.

        `timesteps` (B,) and the schedule's ᾱ (T,) are for those that look at how noisy a sample is.
        """
