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
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class Loss(Spec, contract="type"):
    """The distance between prediction and target: 0 where they are equal, never negative."""

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        """Elementwise loss of two (B, C, h, w) tensors of any floating type, in float32, not reduced.

        The base's `diffusion` and the samples' `t` (B,) are for losses that depend on how noisy a sample is.
        """
