"""SGD with Nesterov momentum, in 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers._sgd import Nesterov


@dataclass(frozen=True)
class SgdNesterov(Nesterov):
    """SGD with Nesterov momentum  (Sutskever et al. 2013).

    Very slow to learn: 2000 steps are not enough for a character.
    """

    implementation: ClassVar[str] = "torch.optim.sgd:SGD"
    states: ClassVar[float] = 1
