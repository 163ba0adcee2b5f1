"""GLoRA: a LoRA of the weight and a LoRA of the module's input."""

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
class GLoRA(TargetKnobs):
    """ΔW = (alpha / rank) · (W · a1 · a2 + b1 · b2)  (Chavan et al. 2023, arXiv:2306.07967; LyCORIS' `glora`)."""

    algorithm: ClassVar[str] = "glora"

    rank: int = param(
        8,
        "rank of each of the two products; about twice the parameters of a LoRA of this rank: 4 to 16",
        ge=1,
        le=768,
        kohya=("network_dim",),
    )
    alpha: float = param(
        0.0, "scale: the update is multiplied by alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",)
    )

    def width(self, pointwise: bool) -> Width:
        return Width.of(self.rank, self.alpha)

    def of_rank(self, rank: int, pointwise: bool) -> Width:
        return Width.of(rank, self.alpha)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        return width.numbers(shape) + 2 * width.rank * shape[1]

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.glora_layer import GloraLayer

        return GloraLayer(base, width)
