"""The knob of T-LoRA: fewer ranks are trained the more noise there is  (Soboleva et al. 2025, arXiv:2507.05964)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs


@dataclass(frozen=True)
class TimestepRankKnobs(LoraKnobs):
    """The knob of adapters whose layers have ranks one by one."""

    noise_rank: int = param(
        0,
        "T-LoRA: the number of ranks that are trained at pure noise; without noise all are, between them a share. Half of "
        "rank is common, against over-fitting on few pictures; 0: always all ranks. Samples and files use all ranks  "
        "(Soboleva et al. 2025, arXiv:2507.05964)",
        ge=0,
        le=768,
        rare=True,
    )

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        rank = getattr(self, "rank", self.noise_rank)
        if self.noise_rank > rank:
            yield Problem(f"{self.noise_rank} is above rank {rank}.", cure=f"Use {rank // 2}.", path=("noise_rank",))
        if self.noise_rank and self.dora:
            what = "a DoRA's magnitudes depend on all ranks."
            yield Problem(what, cure="Take dora or noise_rank away.", path=("noise_rank",))
