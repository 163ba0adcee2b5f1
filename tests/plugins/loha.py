"""LoHa as another package would add it: this file, and two lines of entry points."""

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


class Hadamard(Algorithm):
    """ΔW = alpha / rank · (w1_a · w1_b) ⊙ (w2_a · w2_b)  (Hyeon-Woo et al. 2021, arXiv:2108.06098; as LyCORIS)."""

    keys: ClassVar = {name: f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b")}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "LOHA"

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["w1_b"].shape[0])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        first, second = (tensors[f"{name}_a"] @ tensors[f"{name}_b"] for name in ("w1", "w2"))
        return alpha / self.rank(tensors) * (first * second)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "w2_a": tensors["w2_a"] * factor}


@dataclass(frozen=True)
class LoHa(LoraKnobs):
    """Low-rank Hadamard product: a rank of r² for the size of a LoRA of 2r."""

    algorithm: ClassVar[str] = "loha"

    rank: int = param(4, "width of each of the two products", ge=1, le=64, kohya=("network_dim",))
    alpha: float = param(0.0, "scale: alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",))

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        import torch

        from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, shape_of

        class Layer(AdapterLayer):
            algorithm = "loha"
            fast = ("w2_a",)

            def __init__(self, base: Module, width: Width) -> None:
                super().__init__(base, width)
                (out, *inside), rank = shape_of(base), width.rank
                left, right = (out, rank), (rank, math.prod(inside))
                shapes = {"w1_a": left, "w1_b": right, "w2_a": left, "w2_b": right}
                empty = {name: torch.empty(shape, device=device_of(base)) for name, shape in shapes.items()}
                self.factors = torch.nn.ParameterDict(empty)

            def tensors(self) -> dict[str, torch.nn.Parameter]:
                return dict(self.factors)

            def reset(self, generator: torch.Generator) -> None:
                for name, spread in {"w1_a": 0.1, "w1_b": 1.0, "w2_a": 0.0, "w2_b": 1.0}.items():
                    self.factors[name].data.copy_(torch.randn(self.factors[name].shape, generator=generator) * spread)

        return Layer(base, width)
