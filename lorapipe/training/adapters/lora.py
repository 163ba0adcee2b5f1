"""LoRA on the transformer blocks (kohya's LierLa): the plain meaning of "LoRA"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.adapter_layers.timestep_ranks import TimestepRankKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.block_widths import Width
    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class LoRA(TimestepRankKnobs):
    """ΔW = (alpha / rank) · up · down on Linear layers and 1×1 convolutions  (Hu et al. 2021, arXiv:2106.09685)."""

    search_words: ClassVar[tuple[str, ...]] = ("train lora", "lora rank", "network dim")
    algorithm: ClassVar[str] = "lora"

    rank: int = param(
        16,
        "width of the update: 4–16 for plain characters, 32–64 for ornate ones or real people, 96–192 "
        "for styles; too high wastes disk and over-fits",
        ge=1,
        le=768,
        kohya=("network_dim",),
    )
    alpha: float = param(
        0.0,
        "scale: the update is multiplied by alpha / rank. 0 means rank (scale 1); 1 damps strongly and needs more "
        "steps, a higher learning rate, or an adaptive optimizer",
        ge=0,
        kohya=("network_alpha",),
    )

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        return width.numbers(shape)

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.lora_layer import LoraLayer

        return LoraLayer(base, width, self.noise_rank)
