"""The pseudo-Huber loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses._pseudo_huber import PseudoHuber

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class Huber(PseudoHuber):
    """2c (√(error² + c²) − c): the square of small errors, and of large ones only their size  (Khrapov et al. 2024,
    arXiv:2403.16728; kohya's `huber`).

    For sets in which some pictures are bad or mislabelled: they pull less.
    """

    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        rounded, c = self.rounded(prediction, target, diffusion, t)
        return c * rounded
