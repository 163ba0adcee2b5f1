"""Absolute error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class L1(Loss):
    """|prediction − target|: the gradient does not grow with the error; softer pictures than mse  (kohya's `l1`)."""

    def __call__(self, prediction: Tensor, target: Tensor, diffusion: Diffusion, t: Tensor) -> Tensor:
        return (prediction.float() - target.float()).abs()
