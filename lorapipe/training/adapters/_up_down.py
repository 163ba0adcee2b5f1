"""What adapters of two matrices, up · down, have in common."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.adapters import Adapter


@dataclass(frozen=True)
class UpDown(Adapter):
    """Three dropouts, against over-fitting, and LoRA+, as in kohya's `networks/lora.py`."""

    dropout: float = param(
        0.0, "share of each module's input that training zeroes at random (network_dropout); 0 is usual", ge=0, lt=1
    )
    rank_dropout: float = param(
        0.0,
        "share of each module's ranks that training leaves out at random; 0.1 to 0.3 where it over-fits",
        ge=0,
        lt=1,
    )
    module_dropout: float = param(
        0.0, "chance of each module to be left out of a step; 0.1 to 0.3 where it over-fits", ge=0, lt=1
    )
    lora_plus: float = param(
        1.0,
        "LoRA+: how many times faster up learns than down (loraplus_lr_ratio); 4 to 16 converges sooner, with a lower rate "
        "for all; 1 is plain LoRA  (Hayou et al. 2024, arXiv:2402.12354)",
        ge=1,
        le=64,
    )

    block_ranks: tuple[int, ...] = param(
        (),
        "a rank for each block of the U-Net in place of `rank` (block_dims): 25 numbers for SD1.x and SD2 (12 down, the "
        "middle, 12 up), 23 for SDXL (1, 9 down, 3 in the middle, 9 up, 1); 0 leaves a block out",
        ge=0,
        le=768,
    )
    block_rates: tuple[float, ...] = param(
        (),
        "a factor on the U-Net's rate for each block (down_lr_weight, mid_lr_weight, up_lr_weight), as many numbers as "
        "block_ranks; 0 leaves a block out",
        ge=0,
        le=100,
    )

    @property
    def has_rates_of_its_own(self) -> bool:
        """See `Adapter.has_rates_of_its_own`."""
        return self.lora_plus != 1 or len(set(self.block_rates)) > 1
