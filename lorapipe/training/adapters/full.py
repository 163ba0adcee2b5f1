"""Full: dense ΔW of the chosen modules, without a low-rank factorisation."""

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
    """ΔW of the weight's own shape, and Δb of the bias  (LyCORIS' `full`); choose modules with `preset` or `include`.

    Files are as large as the weights of these modules, and the optimizer state is several times larger.
    """

    search_words: ClassVar[tuple[str, ...]] = ("lycoris full", "full rank")
    algorithm: ClassVar[str] = "full"

    biases: bool = param(True, "also train the biases of modules that have one (diff_b)")

    def width(self, pointwise: bool) -> Width:
        return Width(1, 1.0)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        """Count as if every module had a bias: slightly too many where some have none."""
        return math.prod(shape) + (shape[0] if self.biases else 0)

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.full_layer import FullLayer

        return FullLayer(base, width, self.biases)
