"""AdamW in 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay  (Loshchilov & Hutter 2017, arXiv:1711.05101).

    Well tested, and the least memory of the exact ones; it needs a good rate.
    """

    implementation: ClassVar[str] = "torch.optim.adamw:AdamW"

    weight_decay: float = param(
        0.01, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)
    eps: float = param(1e-8, "keeps the division by the root of the mean square finite; rarely changed", gt=0)

    def keywords(self) -> dict[str, Any]:
        """See `Optimizer.keywords`; fused: one pass over the memory instead of one for each operation."""
        return {"fused": True, **super().keywords()}
