"""The absolute error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses import Loss

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class L1(Loss):
    """|prediction − target|: large errors pull no harder than small ones; softer pictures than mse  (kohya's `l1`)."""

    def __call__(
        self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor, alphas_cumprod: torch.Tensor
    ) -> torch.Tensor:
        """See `Loss.__call__`."""
        return (prediction.float() - target.float()).abs()
