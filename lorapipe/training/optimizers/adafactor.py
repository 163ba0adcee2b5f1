"""Adafactor: Adam with a factored second moment."""

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
    """Adam that stores the second moment as a row and a column per matrix  (Shazeer & Stern 2018, arXiv:1804.04235).

    Needs very little memory. By default, as in the guide, it has its own schedule (`relative_step`) and ignores learning
    rates: weak learning, which may suit styles. With `relative_step: false` it uses learning rates as AdamW does.
    """

    implementation: ClassVar[str] = "transformers.optimization:Adafactor"
    without_waiting: ClassVar[str] = "lorapipe.training.waitless_adafactor:Adafactor"
    states: ClassVar[float] = 0.02
    elementwise: ClassVar[bool] = False

    relative_step: bool = param(
        True, "use its own schedule, at most 1/√step, instead of the learning rates and the scheduler"
    )
    scale_parameter: bool = param(True, "scale steps by the root mean square of the parameter")
    warmup_init: bool = param(True, "start its own schedule with very small steps; needs relative_step", rare=True)
    weight_decay: float = param(0.0, "weight decay, multiplied by the learning rate", ge=0, le=1)
    clip_threshold: float = param(1.0, "clip steps whose root mean square is above this", gt=0, rare=True)
    decay_rate: float = param(-0.8, "exponent of the second moment's decay, 1 − step^decay_rate", lt=0, rare=True)

    # Here the user chooses whether learning rates are used.
    adaptive = one_rate = slow = property(lambda self: self.relative_step)
    follows_rate = property(lambda self: not self.relative_step)
    per_parameter = property(lambda self: True)
    waits = property(lambda self: self.weight_decay > 0)

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.warmup_init and not self.relative_step:
            cure = "Write warmup_init: false, and a scheduler with a warm-up if you want one."
            yield Problem("warmup_init is a part of relative_step, which is off.", cure=cure, path=("warmup_init",))

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """Build it without a learning rate where it has its own schedule; the loop's rate is restored for the log."""
        if not self.relative_step:
            return super().build(groups)
        optimizer = super().build([{**group, "lr": None} for group in groups])
        for group, given in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = given["lr"]
        return optimizer

    def effective_learning_rates(self, optimizer: torch.optim.Optimizer) -> dict[str, float | torch.Tensor]:
        """Return its own learning rate before `scale_parameter`: min(10⁻², or 10⁻⁶ · step with `warmup_init`; 1/√step)."""
        steps = [state["step"] for state in optimizer.state.values()]
        if not (self.relative_step and steps):
            return {}
        return {"lr/own": min(1e-6 * steps[0] if self.warmup_init else 1e-2, steps[0] ** -0.5)}

    def keywords(self) -> dict[str, Any]:
        return {"lr": None, **super().keywords()} if self.relative_step else super().keywords()
