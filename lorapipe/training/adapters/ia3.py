"""(IA)³: trains one factor for each output or input of a module, the smallest adapter."""

from __future__ import annotations

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
class IA3(TargetKnobs):
    """ΔW = W ⊙ a factor for each output or input  (Liu et al. 2022, arXiv:2205.05638; LyCORIS' `ia3`).

    Files of some 100 kB, for simple subjects. ComfyUI and Forge do not read them: for these export with `convert: diff`.
    """

    algorithm: ClassVar[str] = "ia3"
    rate_factor: ClassVar[float] = 50.0

    on_input: bool = param(
        False,
        "train a factor for each input of a module in place of one for each output",
        kohya=("train_on_input",),
    )

    def width(self, pointwise: bool) -> Width:
        return Width(1, 1.0)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        return shape[1 if self.on_input else 0]

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.ia3_layer import Ia3Layer

        return Ia3Layer(base, width, self.on_input)
