"""Prodigy: Adam that finds its own rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Prodigy(Optimizer):
    """Adam whose rate is d, an estimate of how far there is to go  (Mishchenko & Defazio 2023, arXiv:2306.06101).

    Give rates of 1.0 and a constant scheduler; it starts at d0 and works its way up within the first hundred steps or
    so. Needs twice AdamW's memory for its state. Arguments are the training guide's (§5), not the library's.
    """

    implementation: ClassVar[str] = "prodigyopt.prodigy:Prodigy"
    states: ClassVar[float] = 4
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True

    d_coef: float = param(
        2.0, "factor on the estimate d: the one to change. 0.5–2 is usual, up to 10 for LoKr or rank ≤ 8", gt=0, le=100
    )
    weight_decay: float = param(0.01, "pull of the weights towards zero, as a share of the rate", ge=0, le=1)
    decouple: bool = param(True, "weight decay as in AdamW (true), or as a part of the gradient (false)")
    use_bias_correction: bool = param(True, "Adam's correction of its young means; also slows the first steps")
    safeguard_warmup: bool = param(
        False,
        "keep the rate out of d's estimate; true only with a scheduler that warms up, whose small rates mislead it",
    )
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)
    d0: float = param(1e-6, "where d starts; rarely changed", gt=0, le=1)
    growth_rate: float | None = param(
        None, "most that d may grow by in a step, as a factor: 1.02 is a slow start; empty: no limit", gt=1
    )

    warms_up = property(lambda self: self.safeguard_warmup)
