"""CAME: Adafactor with confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers._adam import Moments


@dataclass(frozen=True)
class Came(Moments):
    """Adafactor that trusts its steps by how steady they are  (Luo et al. 2023, arXiv:2307.02047).

    The memory of Adafactor with the pace of AdamW, and AdamW's rates.
    """

    implementation: ClassVar[str] = "pytorch_optimizer.optimizer.came:CAME"
    states: ClassVar[float] = 1.04
    elementwise: ClassVar[bool] = False

    beta3: float = param(0.9999, "how long the mean of the steps' unsteadiness remembers; rarely changed", ge=0, lt=1)
    clip_threshold: float = param(1.0, "steps whose root mean square is above this are shortened to it", gt=0)
