"""SGD with Nesterov momentum and 8-bit state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers._bitsandbytes import or_use
from lorapipe.training.optimizers._sgd import Nesterov


@dataclass(frozen=True)
class SgdNesterov8bit(Nesterov):
    """SGD with Nesterov momentum that is stored in 8 bits  (Sutskever et al. 2013; bitsandbytes).

    Very slow to learn: 2000 steps are not enough for a character.
    """

    implementation: ClassVar[str] = "bitsandbytes.optim.sgd:SGD8bit"
    states: ClassVar[float] = 0.26
    install: ClassVar[str] = or_use("sgd_nesterov")
