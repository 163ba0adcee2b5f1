"""OFT: the outputs of each module are rotated, in blocks; their angles and norms stay."""

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
        "outputs that are rotated together, where it divides them (else the nearest smaller): 4 to 32; larger is stronger",
        ge=2,
        le=256,
        kohya=("network_dim",),
    )
    constraint: float = param(
        0.0,
        "limit of the rotation, as a share of a module's outputs: ‖Q‖ is at most that times them; 1e-3 is kohya's, 0 is no "
        "limit; ComfyUI misreads any other than 0",
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
