"""AdamW in 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lorapipe.training.optimizers._adam import Adam


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay  (Loshchilov & Hutter 2017, arXiv:1711.05101).

    The well-tested default. It needs a good learning rate.
    """

    implementation: ClassVar[str] = "torch.optim.adamw:AdamW"
    states: ClassVar[float] = 2

    def keywords(self) -> dict[str, Any]:
        """Add torch's `fused`: one pass over the memory instead of one for each operation."""
        return {"fused": True, **super().keywords()}
