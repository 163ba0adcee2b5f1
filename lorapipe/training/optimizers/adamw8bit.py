"""AdamW with 8-bit state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers._adam import Adam
from lorapipe.training.optimizers._bitsandbytes import or_use


@dataclass(frozen=True)
class AdamW8bit(Adam):
    """AdamW that stores both moments in 8 bits  (Dettmers et al. 2021, arXiv:2110.02861).

    A quarter of AdamW's state with nearly the same result; most LoRAs are made with it. It needs a good learning rate.
    """

    implementation: ClassVar[str] = "bitsandbytes.optim.adamw:AdamW8bit"
    states: ClassVar[float] = 0.52
    install: ClassVar[str] = or_use("adamw")
