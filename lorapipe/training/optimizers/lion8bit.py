"""Lion with its state in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Lion8bit(Optimizer):
    """Lion whose mean gradient is kept in 8 bits  (Chen et al. 2023, arXiv:2302.06675; bitsandbytes).

    The least memory of all that keep a mean. About a third of AdamW's rate. Odd results at times.
    """

    implementation: ClassVar[str] = "bitsandbytes.optim.lion:Lion8bit"
    install: ClassVar[str] = "Install it with `pip install 'lorapipe[8bit]'`, or use lion, its 32-bit twin."

    weight_decay: float = param(
        0.03, "pull of the weights towards zero, as a share of the rate; a weak guard against over-fitting", ge=0, le=1
    )
    beta1: float = param(0.9, "share of the mean gradient in a step's direction; rarely changed", ge=0, lt=1)
    beta2: float = param(0.99, "how long the mean of the gradient remembers; rarely changed", ge=0, lt=1)

    @property
    def usual_rates(self) -> dict[str, float]:
        """A third of AdamW's: every element moves by the whole rate at every step (Chen et al., §5)."""
        return {"unet": 3e-5, "text_encoder": 1.5e-5}
