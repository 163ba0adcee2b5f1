"""LoKr: the Kronecker product of a small matrix and a larger, optionally low-rank one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.lokr_form import Form
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class LoKr(LoraKnobs):
    """ΔW = (alpha / rank) · w1 ⊗ (w2_a · w2_b), or w1 ⊗ w2  (Yeh et al. 2023, arXiv:2309.14859; LyCORIS' `lokr`)."""

    search_words: ClassVar[tuple[str, ...]] = ("lycoris", "kronecker")
    algorithm: ClassVar[str] = "lokr"

    rank: int = param(
        8,
        "rank of the larger factor. From half of the factor's side on, the factor is a full matrix and alpha is ignored: "
        "a very high rank, or full_matrix, is the common choice",
        ge=1,
        le=100_000,
        kohya=("network_dim",),
    )
    alpha: float = param(
        0.0, "scale: the update is multiplied by alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",)
    )
    factor: int = param(
        8,
        "side of the smaller factor, where it divides the module's side: 4 to 16. Smaller means more parameters; -1 splits "
        "as evenly as possible, which makes the smallest files",
        ge=-1,
        le=1024,
        kohya=("factor",),
    )
    full_matrix: bool = param(False, "both factors are full matrices, whatever the rank", kohya=("full_matrix",))
    decompose_both: bool = param(
        False,
        "the smaller factor is low-rank too, where that has fewer parameters",
        kohya=("decompose_both",),
        rare=True,
    )
    conv_rank: int = param(
        0, "rank of 3×3 convolutions, with a preset that has them; 0: as rank", ge=0, le=100_000, kohya=("conv_dim",)
    )
    conv_alpha: float = param(
        0.0, "scale of that update: conv_alpha / conv_rank; 0 means conv_rank", ge=0, kohya=("conv_alpha",)
    )
    tucker: bool = param(
        False,
        "3×3 convolutions in Tucker form: fewer parameters; export multiplies them out, for ComfyUI (LyCORIS' use_tucker)",
        kohya=("use_tucker",),
        rare=True,
    )

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        return sum(map(math.prod, self._form.shapes(shape, width.rank).values()))

    @property
    def _form(self) -> Form:
        return Form(self.factor or -1, self.full_matrix, self.decompose_both, self.tucker)

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.lokr_layer import LokrLayer

        return LokrLayer(base, width, self._form)
