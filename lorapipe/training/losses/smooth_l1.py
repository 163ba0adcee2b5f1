"""Smooth L1 loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses._pseudo_huber import PseudoHuber

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class SmoothL1(PseudoHuber):
    """2 (√(error² + c²) − c): huber without the factor c, so small errors weigh more where c is small  (kohya's
    `smooth_l1`).
    """

    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        return self.rounded(prediction, target, diffusion, t)[0]
