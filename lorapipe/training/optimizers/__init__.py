"""Optimizers: how gradients become steps.

An optimizer is a spec; `build` makes a `torch.optim.Optimizer` over parameter groups, each with its own `lr` and `name`.
Defaults are those of the training guide for LoRA, not the library's. An adaptive one also says its step size estimate d.

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

    @property
    def usual_rates(self) -> dict[str, float]:
        """The learning rate of each part where the user gives none (guide §3, §4)."""
        return {"unet": 1.0, "text_encoder": 1.0} if self.adaptive else {"unet": 1e-4, "text_encoder": 5e-5}

    @abstractmethod
    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer over groups `{"params": [...], "lr": float, "name": str}`."""

    def estimates(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Figures worth logging beside the rate, such as Prodigy's d. Read only when someone logs."""
        return {}
