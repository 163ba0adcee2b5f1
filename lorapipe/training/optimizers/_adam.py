"""Adam and its kin: the knobs that they share."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Moments(Optimizer):
    """Weight decay, and the memory of the gradient and of its square."""

    weight_decay: float = param(
        0.01, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)
    beta2: float = param(0.999, "how long the mean of the squared gradient remembers; rarely changed", ge=0, lt=1)


@dataclass(frozen=True)
class Adam(Moments):
    """Steps of the mean gradient over the root of the mean square."""

    eps: float = param(1e-8, "keeps the division by the root of the mean square finite; rarely changed", gt=0)
