"""LoHa: the Hadamard product of two low-rank matrices of rank r, which has rank up to r²."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class LoHa(LoraKnobs):
    """ΔW = (alpha / rank) · (w1_a · w1_b) ⊙ (w2_a · w2_b)  (Hyeon-Woo et al. 2021, arXiv:2108.06098; LyCORIS' `loha`)."""

    search_words: ClassVar[tuple[str, ...]] = ("lycoris", "hadamard")
    algorithm: ClassVar[str] = "loha"

    rank: int = param(
        8,
        "rank of each of the two products; as many parameters as a LoRA of twice the rank: 4 to 8 for characters, 16 "
        "for styles; above 32 training tends to be unstable",
        ge=1,
        le=256,
        kohya=("network_dim",),
    )
    alpha: float = param(
        0.0, "scale: the update is multiplied by alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",)
    )
    conv_rank: int = param(
        0, "rank of the products of 3×3 convolutions, with a preset that has them; 0: as rank", ge=0, le=256,
        kohya=("conv_dim",),
    )  # fmt: skip
    conv_alpha: float = param(
        0.0, "scale of that update: conv_alpha / conv_rank; 0 means conv_rank", ge=0, kohya=("conv_alpha",)
    )
    tucker: bool = param(
        False,
        "3×3 convolutions in Tucker form: fewer parameters, with a core of the kernel's size (LyCORIS' use_tucker)",
        kohya=("use_tucker",),
        rare=True,
    )

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        kernel = math.prod(shape[2:])
        if self.tucker and kernel > 1:
            return 2 * width.rank * (shape[0] + shape[1] + width.rank * kernel)
        return 2 * width.numbers(shape)

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.loha_layer import LohaLayer

        return LohaLayer(base, width, self.tucker)
