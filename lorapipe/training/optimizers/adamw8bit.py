"""AdamW with its state in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class AdamW8bit(Optimizer):
    """AdamW whose two means are kept in 8 bits  (Dettmers et al. 2021, arXiv:2110.02861).

    A quarter of AdamW's memory, next to the same result: what most LoRAs were made with. It needs a good rate.
    """

    implementation: ClassVar[str] = "bitsandbytes.optim.adamw:AdamW8bit"
    install: ClassVar[str] = "Install it with `pip install 'lorapipe[8bit]'`, or use adamw, its 32-bit twin."

    weight_decay: float = param(
        0.01, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)
    eps: float = param(1e-8, "keeps the division by the root of the mean square finite; rarely changed", gt=0)
