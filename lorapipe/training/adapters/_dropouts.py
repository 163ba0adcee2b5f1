"""Three ways of leaving something of an adapter out at random while it trains, against over-fitting."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.spec import param
from lorapipe.training.adapters import Adapter


@dataclass(frozen=True)
class WithDropouts(Adapter):
    """What adapters of up · down have in common, as in kohya's `networks/lora.py`. 0 is usual for all three."""

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
