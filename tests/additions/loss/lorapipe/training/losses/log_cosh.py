"""The logarithm of the hyperbolic cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class LogCosh(Loss):
    """ln cosh(error): half the square of small errors, the size of large ones."""

    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        import math

        import torch

        error = (prediction.float() - target.float()).abs()
        return error + torch.nn.functional.softplus(-2 * error) - math.log(2)
