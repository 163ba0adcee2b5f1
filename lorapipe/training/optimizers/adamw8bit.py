"""AdamW with its state in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers._adam import Adam
from lorapipe.training.optimizers._bitsandbytes import or_use


@dataclass(frozen=True)
class AdamW8bit(Adam):
    """AdamW whose two means are kept in 8 bits  (Dettmers et al. 2021, arXiv:2110.02861).

    A quarter of AdamW's memory, next to the same result: what most LoRAs were made with. It needs a good rate.
    """

    implementation: ClassVar[str] = "bitsandbytes.optim.adamw:AdamW8bit"
    states: ClassVar[float] = 0.52
    install: ClassVar[str] = or_use("adamw")
