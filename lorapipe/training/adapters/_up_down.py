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

    @property
    def has_rates_of_its_own(self) -> bool:
        """See `Adapter.has_rates_of_its_own`."""
        return self.lora_plus != 1
