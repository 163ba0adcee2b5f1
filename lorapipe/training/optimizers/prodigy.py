"""Prodigy: Adam that estimates its own learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Prodigy(Optimizer):
    """Adam with learning rate d, an estimate of the distance to the solution  (Mishchenko & Defazio 2023, arXiv:2306.06101).

    Use learning rates of 1.0 and a constant scheduler. d starts at d0 and rises within about the first hundred steps.
    Its state is twice AdamW's. Defaults are the training guide's (§5), not the library's.
    """

    implementation: ClassVar[str] = "prodigyopt.prodigy:Prodigy"
    without_waiting: ClassVar[str] = "lorapipe.training.waitless_optimizers:Prodigy"
    states: ClassVar[float] = 4
    adaptive: ClassVar[bool] = True
    one_rate: ClassVar[bool] = True

    d_coef: float = param(
        2.0, "factor on the estimate d: the one to change. 0.5–2 is usual, up to 10 for LoKr or rank ≤ 8", gt=0, le=100
    )
    weight_decay: float = param(0.01, "weight decay, multiplied by the learning rate", ge=0, le=1)
    decouple: bool = param(
        True, "decoupled weight decay as in AdamW (true), or L2 regularisation in the gradient (false)", rare=True
    )
    use_bias_correction: bool = param(
        True, "Adam's bias correction of the moments; also slows the first steps", rare=True
    )
    safeguard_warmup: bool = param(
        False,
        "leave the learning rate out of the estimate of d; true only with a warm-up, whose small rates mislead it",
    )
    beta1: float = param(0.9, "decay of the moving average of the gradient (first moment)", ge=0, lt=1, rare=True)
    beta2: float = param(
        0.999, "decay of the moving average of the squared gradient (second moment)", ge=0, lt=1, rare=True
    )
    d0: float = param(1e-6, "initial estimate d", gt=0, le=1, rare=True)
    growth_rate: float | None = param(
        None, "largest factor by which d may grow in a step: 1.02 is a slow start; empty: no limit", gt=1, rare=True
    )

    warms_up = property(lambda self: self.safeguard_warmup)
