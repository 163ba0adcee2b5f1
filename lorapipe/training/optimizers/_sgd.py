"""Gradient descent with momentum, whoever computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Gradient descent with Nesterov's momentum."""

    slow: ClassVar[bool] = True
    denoiser_rate: ClassVar[float] = 1e-2
    """A hundred times AdamW's: gradients of an adapter are small, and nothing here makes up for it."""

    weight_decay: float = param(
        0.0, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    momentum: float = param(0.9, "share of the last step that is taken again; rarely changed", gt=0, lt=1)

    def keywords(self) -> dict[str, Any]:
        return {"nesterov": True, **super().keywords()}
