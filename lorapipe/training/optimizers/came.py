"""CAME: Adafactor with confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Came(Optimizer):
    """Adafactor that trusts its steps by how steady they are  (Luo et al. 2023, arXiv:2307.02047).

    The memory of Adafactor with the pace of AdamW, and AdamW's rates.
    """

    implementation: ClassVar[str] = "pytorch_optimizer.optimizer.came:CAME"
    elementwise: ClassVar[bool] = False

    weight_decay: float = param(
        0.01, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)
    beta3: float = param(0.9999, "how long the mean of the steps' unsteadiness remembers; rarely changed", ge=0, lt=1)
    clip_threshold: float = param(1.0, "steps whose root mean square is above this are shortened to it", gt=0)
