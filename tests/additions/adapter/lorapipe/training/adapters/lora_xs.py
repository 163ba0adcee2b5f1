"""LoRA-XS: few numbers, whatever the size of the module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class LoraXS(LoraKnobs):
    """ΔW = (alpha / rank) · left · core · right  (Bałazy et al. 2024, arXiv:2405.17604)."""

    algorithm: ClassVar[str] = "lora_xs"

    rank: int = param(4, "side of the square", ge=1, le=768, kohya=("network_dim",))
    alpha: float = param(0.0, "scale: alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",))

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        import torch

        from lorapipe.training.adapter_layers.layer import FactorsLayer, shape_of

        class Layer(FactorsLayer):
            algorithm = "lora_xs"
            fast = ("core",)

            def __init__(self, base: Module, width: Width) -> None:
                (out, *inside), rank = shape_of(base), width.rank
                shapes = {"left": (out, rank), "core": (rank, rank), "right": (rank, math.prod(inside))}
                super().__init__(base, width, shapes)

            def reset(self, generator: torch.Generator) -> None:
                for name, parameter in self.factors.items():
                    values = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
                    parameter.data.copy_(torch.zeros_like(values) if name == "core" else values)

        return Layer(base, width)
