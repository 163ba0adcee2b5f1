"""The squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses import Loss

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mse(Loss):
    """(prediction − target)²: the loss that diffusion models are made with  (Ho et al. 2020, eq. 14)."""

    def __call__(
        self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor, alphas_cumprod: torch.Tensor
    ) -> torch.Tensor:
        """See `Loss.__call__`."""
        return (prediction.float() - target.float()).square()
