"""Pseudo-Huber loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses._pseudo_huber import PseudoHuber

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class Huber(PseudoHuber):
    """2c (√(error² + c²) − c): quadratic for small errors, linear for large ones  (Khrapov et al. 2024,
    arXiv:2403.16728; kohya's `huber`).

    For datasets with some bad or mislabelled pictures, whose effect it limits.
    """

    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        rounded, c = self.rounded(prediction, target, diffusion, t)
        return c * rounded
