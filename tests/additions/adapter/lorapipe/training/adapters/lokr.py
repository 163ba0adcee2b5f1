"""LoKr: fewer numbers than LoRA for an update that need not be of low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class LoKr(LoraKnobs):
    """ΔW = (alpha / rank) · w1 ⊗ (w2_a · w2_b)  (Yeh et al. 2023, arXiv:2309.14859)."""

    rank: int = param(4, "rank of the right factor", ge=1, le=768, kohya=("network_dim",))
    alpha: float = param(0.0, "scale: alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",))
    factor: int = param(4, "rows and columns of the left factor, where they divide the module's", ge=1, le=64)

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        import torch

        from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, shape_of

        class Layer(AdapterLayer):
            algorithm = "lokr"
            fast = ("w2_a",)

            def __init__(self, base: Module, width: Width, factor: int) -> None:
                super().__init__(base, width)
                out, inside = shape_of(base)[0], math.prod(shape_of(base)[1:])
                rows, columns = math.gcd(factor, out), math.gcd(factor, inside)
                shapes = {
                    "w1": (rows, columns),
                    "w2_a": (out // rows, width.rank),
                    "w2_b": (width.rank, inside // columns),
                }
                empty = {name: torch.empty(shape, device=device_of(base)) for name, shape in shapes.items()}
                self.factors = torch.nn.ParameterDict(empty)

            def tensors(self) -> dict[str, torch.nn.Parameter]:
                return dict(self.factors)

            def reset(self, generator: torch.Generator) -> None:
                for name, parameter in self.factors.items():
                    values = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
                    parameter.data.copy_(torch.zeros_like(values) if name == "w2_a" else values)

        return Layer(base, width, self.factor)
