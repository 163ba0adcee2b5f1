"""Gradient descent with momentum, in 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class SgdNesterov(Optimizer):
    """Plain gradient descent with Nesterov's momentum  (Sutskever et al. 2013).

    Very slow to learn: 2000 steps are not enough for a character.
    """

    implementation: ClassVar[str] = "torch.optim.sgd:SGD"
    slow: ClassVar[bool] = True

    weight_decay: float = param(
        0.0, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    momentum: float = param(0.9, "share of the last step that is taken again; rarely changed", gt=0, lt=1)

    @property
    def usual_rates(self) -> dict[str, float]:
        """A hundred times AdamW's: gradients of an adapter are small, and nothing here makes up for it."""
        return {"unet": 1e-2, "text_encoder": 5e-3}

    def keywords(self) -> dict[str, Any]:
        """See `Optimizer.keywords`."""
        return {"nesterov": True, **super().keywords()}
