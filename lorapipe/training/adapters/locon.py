"""LoCon (kohya's C3Lier): LoRA that also trains 3×3 convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.timestep_ranks import TimestepRankKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class LoCon(TimestepRankKnobs):
    """LoRA that also trains resnet, downsample and upsample blocks; 3×3 convolutions have their own rank (conv_dim)."""

    search_words: ClassVar[tuple[str, ...]] = ("lycoris", "convolution lora")
    algorithm: ClassVar[str] = "lora"
    convolutions: ClassVar[bool] = True

    rank: int = param(
        16, "width of the update of Linear layers and 1×1 convolutions", ge=1, le=768, kohya=("network_dim",)
    )
    alpha: float = param(0.0, "scale of that update: alpha / rank; 0 means rank", ge=0, kohya=("network_alpha",))
    conv_rank: int = param(
        8, "width of the update of 3×3 convolutions; smaller than rank is usual", ge=1, le=768, kohya=("conv_dim",)
    )
    conv_alpha: float = param(
        0.0, "scale of that update: conv_alpha / conv_rank; 0 means conv_rank", ge=0, kohya=("conv_alpha",)
    )
    conv_block_ranks: tuple[int, ...] = param(
        (),
        "a rank for the 3×3 convolutions of each block of the denoiser (U-Net) in place of conv_rank, as many "
        "numbers as block_ranks; 0 leaves a block's convolutions out",
        ge=0,
        le=768,
        kohya=("conv_block_dims",),
        rare=True,
    )
    conv_block_alphas: tuple[float, ...] = param(
        (),
        "with conv_block_ranks: an alpha for each block in place of conv_alpha; 0 means the block's rank",
        ge=0,
        kohya=("conv_block_alphas",),
        rare=True,
    )

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        return width.numbers(shape)

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.lora_layer import LoraLayer

        return LoraLayer(base, width, self.noise_rank)
