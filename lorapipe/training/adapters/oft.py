"""OFT: rotates the outputs of each module in blocks, which keeps the angles and norms of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms.lokr import factorization
from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class OFT(TargetKnobs):
    """W' = RᵀW, R = (I + Q)(I − Q)⁻¹ in blocks  (Qiu et al. 2023, arXiv:2306.07280; LyCORIS' `diag-oft`, kohya's `oft`)."""

    algorithm: ClassVar[str] = "oft"

    block_size: int = param(
        8,
        "how many outputs rotate together, where it divides their number (else the nearest smaller size): 4 to 32; larger "
        "learns more",
        ge=2,
        le=256,
        kohya=("network_dim",),
    )
    constraint: float = param(
        0.0,
        "limit of the rotation: ‖Q‖ is at most constraint × number of outputs. kohya's is 1e-3; 0 means no limit, and "
        "ComfyUI misreads every other value",
        ge=0,
        kohya=("constraint",),
    )

    def width(self, pointwise: bool) -> Width:
        return Width(self.block_size, self.constraint)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        size, blocks = factorization(shape[0], width.rank)
        return blocks * size**2

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.oft_layer import OftLayer

        return OftLayer(base, width)
