"""Optimizers: how gradients become steps.

An optimizer is a spec; `build` makes a `torch.optim.Optimizer` over parameter groups, each with its own `lr` and
`name`. Defaults are those of the training guide for LoRA, not the library's. Its whole state must be in `state_dict()`,
as tensors and plain values: that is what a checkpoint keeps. An adaptive one also says its step size estimate d.

To add one, create a file here; import torch or the optimizer's package inside `build`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Optimizer(Spec, contract="type"):
    """The rule by which parameters follow their gradients."""

    adaptive: ClassVar[bool] = False
    """True where the optimizer finds its own step size: rates are then factors around 1.0."""
    one_rate: ClassVar[bool] = False
    """True where all parts must have the same rate (or none), because one step size is estimated for all."""
    elementwise: ClassVar[bool] = True
    """True where no element's step depends on the shape of its tensor or on its neighbours in it, so that the many
    small matrices of an adapter may be handed over as one flat tensor. False for Adafactor, which factors matrices."""

    @property
    def usual_rates(self) -> dict[str, float]:
        """The learning rate of each part where the user gives none (guide §3, §4)."""
        return {"unet": 1.0, "text_encoder": 1.0} if self.adaptive else {"unet": 1e-4, "text_encoder": 5e-5}

    @abstractmethod
    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over groups `{"params": [...], "lr": float, "name": str}`; all parameters are float32."""

    def estimates(self, optimizer: torch.optim.Optimizer) -> dict[str, float | torch.Tensor]:
        """Figures worth logging beside the rate, such as Prodigy's d. Asked at every step: tensors stay tensors."""
        return {}
