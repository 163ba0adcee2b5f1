"""The pseudo-Huber loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses._pseudo_huber import PseudoHuber

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Huber(PseudoHuber):
    """2c (√(error² + c²) − c): the square of small errors, and of large ones only their size  (Khrapov et al. 2024,
    arXiv:2403.16728; kohya's `huber`).

    For sets in which some pictures are bad or mislabelled: they pull less.
    """

    def __call__(
        self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor, alphas_cumprod: torch.Tensor
    ) -> torch.Tensor:
        """See `Loss.__call__`."""
        rounded, c = self.rounded(prediction, target, timesteps, alphas_cumprod)
        return c * rounded
