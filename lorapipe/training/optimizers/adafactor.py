"""Adafactor: Adam without the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Adafactor(Optimizer):
    """Adam whose squared gradients are kept as a row and a column of each matrix  (Shazeer & Stern 2018, arXiv:1804.04235).

    Very little memory. As the guide has it, it makes its own schedule (`relative_step`) and looks at no rate: weak
    learning, which may suit styles. With `relative_step: false` it takes rates as AdamW does.
    """

    implementation: ClassVar[str] = "transformers.optimization:Adafactor"
    states: ClassVar[float] = 0.02
    elementwise: ClassVar[bool] = False

    relative_step: bool = param(True, "make its own schedule, 1/√step at most, in place of the rates and the scheduler")
    scale_parameter: bool = param(True, "steps in proportion to the size of what they change")
    warmup_init: bool = param(True, "begin its own schedule with very small steps; needs relative_step")
    weight_decay: float = param(0.0, "pull of the weights towards zero, as a share of the rate", ge=0, le=1)
    clip_threshold: float = param(1.0, "steps whose root mean square is above this are shortened to it", gt=0)
    decay_rate: float = param(-0.8, "how the memory of squared gradients grows with the steps; rarely changed", lt=0)

    # Whether it looks at rates is the user's choice here, not the class's.
    adaptive = one_rate = slow = property(lambda self: self.relative_step)
    follows_rate = property(lambda self: not self.relative_step)
    per_parameter = property(lambda self: True)

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.warmup_init and not self.relative_step:
            cure = "Write warmup_init: false, and a scheduler with a warm-up if you want one."
            yield Problem("warmup_init is a part of relative_step, which is off.", cure=cure, path=("warmup_init",))

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The library takes no rate where it makes its own; the loop's is put back for the log."""
        if not self.relative_step:
            return super().build(groups)
        optimizer = super().build([{**group, "lr": None} for group in groups])
        for group, given in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = given["lr"]
        return optimizer

    def effective_learning_rates(self, optimizer: torch.optim.Optimizer) -> dict[str, float | torch.Tensor]:
        """The rate that it makes for itself, before the size of what it changes: min(10⁻² or 10⁻⁶ · step, 1/√step)."""
        steps = [state["step"] for state in optimizer.state.values()]
        if not (self.relative_step and steps):
            return {}
        return {"lr/own": min(1e-6 * steps[0] if self.warmup_init else 1e-2, steps[0] ** -0.5)}

    def keywords(self) -> dict[str, Any]:
        return {"lr": None, **super().keywords()} if self.relative_step else super().keywords()
