"""Squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class Mse(Loss):
    """(prediction − target)²: the loss with which diffusion models are trained  (Ho et al. 2020, eq. 14)."""

    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        return (prediction.float() - target.float()).square()
