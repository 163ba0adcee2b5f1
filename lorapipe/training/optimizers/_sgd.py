"""Knobs that all implementations of SGD with momentum share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """SGD with Nesterov momentum."""

    slow: ClassVar[bool] = True
    denoiser_rate: ClassVar[float] = 1e-2
    """A hundred times AdamW's: an adapter's gradients are small, and SGD does not normalise them."""

    weight_decay: float = param(
        0.0, "weight decay, multiplied by the learning rate; a weak guard against over-fitting", ge=0, le=1
    )
    momentum: float = param(0.9, "momentum: factor on the previous step", gt=0, lt=1, rare=True)

    def keywords(self) -> dict[str, Any]:
        return {"nesterov": True, **super().keywords()}
