"""CAME: confidence-guided Adafactor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers._adam import Moments


@dataclass(frozen=True)
class Came(Moments):
    """Adafactor that scales steps by how stable they are  (Luo et al. 2023, arXiv:2307.02047).

    Little more memory than Adafactor, the speed of convergence of AdamW, and AdamW's learning rates.
    """

    implementation: ClassVar[str] = "pytorch_optimizer.optimizer.came:CAME"
    states: ClassVar[float] = 1.04
    elementwise: ClassVar[bool] = False

    beta3: float = param(0.9999, "decay of the moving average of the steps' instability", ge=0, lt=1, rare=True)
    clip_threshold: float = param(1.0, "clip steps whose root mean square is above this", gt=0, rare=True)
