"""TriLoRA as a third-party package adds it: this file, and two lines of entry points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Algorithm, Tensors
from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


class ThreeFactors(Algorithm):
    """ΔW = alpha / rank · up · core · down."""

    keys: ClassVar = {name: f"tri_{name}" for name in ("down", "core", "up")}

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["down"].shape[0])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        return alpha / self.rank(tensors) * (tensors["up"] @ tensors["core"] @ tensors["down"])

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "core": tensors["core"] * factor}


@dataclass(frozen=True)
class TriLoRA(LoraKnobs):
    """LoRA with a square matrix between the two factors."""

    algorithm: ClassVar[str] = "trilora"

    rank: int = param(4, "width", ge=1, le=64, kohya=("network_dim",))
    alpha: float = param(0.0, "scale: alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",))

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        import torch

        from lorapipe.training.adapter_layers.layer import FactorsLayer, shape_of

        class Layer(FactorsLayer):
            algorithm = "trilora"
            fast = ("core",)

            def __init__(self, base: Module, width: Width) -> None:
                (out, *inside), rank = shape_of(base), width.rank
                shapes = {"down": (rank, math.prod(inside)), "core": (rank, rank), "up": (out, rank)}
                super().__init__(base, width, shapes)

            def reset(self, generator: torch.Generator) -> None:
                spreads = {"down": 0.1, "core": 0.0, "up": 1.0}
                self.fill({n: torch.randn(t.shape, generator=generator) * spreads[n] for n, t in self.factors.items()})

        return Layer(base, width)
