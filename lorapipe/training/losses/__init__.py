"""Loss functions.

A loss is a spec with one pure elementwise function over tensors. The loop takes the mean over each sample's elements and
then weights the samples (`lorapipe.training.weightings`), in that order, as kohya's sd-scripts does.

To add a loss, create a file here; import torch inside `__call__`.
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
    """Distance between prediction and target: 0 where they are equal, never negative."""

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        """Compute the elementwise loss of two (B, C, h, w) floating tensors, in float32, without reduction.

        The base's `diffusion` and the timesteps `t` (B,) are for losses that depend on the noise level.
        """
