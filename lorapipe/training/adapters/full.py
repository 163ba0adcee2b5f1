"""Full: every number of the chosen modules, as a difference from the base."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class Full(TargetKnobs):
    """ΔW is a matrix of the weight's own size, Δb a bias  (LyCORIS' `full`); for modules chosen with `preset` or `include`.

    Files are as large as the base's weights are, and the optimizer's state some times that.
    """

    algorithm: ClassVar[str] = "full"

    biases: bool = param(True, "train the biases of modules that have one too (diff_b)")

    def width(self, pointwise: bool) -> Width:
        return Width(1, 1.0)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        """A few more than there are, where modules have no bias."""
        return math.prod(shape) + (shape[0] if self.biases else 0)

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.full_layer import FullLayer

        return FullLayer(base, width, self.biases)
