"""GraLoRA: a LoRA for each block of a weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, kaiming, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class GraLora(Method):
    """ΔW of blocks × blocks LoRAs of rank rank / blocks  (Jung et al. 2025, arXiv:2505.20355). For high ranks."""

    algorithm: ClassVar[str] = "gralora"

    rank: int = param(
        32, "rank of the whole update, a multiple of blocks; meant for high ranks, from 32 on", ge=1, le=1024
    )
    scale: float = param(
        0.0, "PEFT's alpha: the update is multiplied by scale / rank; 0 means 2 · rank, as there", ge=0
    )
    blocks: int = param(2, "blocks along each side (PEFT's gralora_k), a divisor of all sides: 2 to 8", ge=1, le=64)

    @property
    def size(self) -> int:
        return self.rank

    @property
    def alpha(self) -> float:
        return self.scale or 2.0 * self.rank

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        outputs, inputs = (side // self.blocks for side in shape)
        return {"A": (self.blocks, inputs, size), "B": (self.blocks, size, outputs)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        shapes = self.shapes(shape, size)
        count, inputs, rank = shapes["A"]
        drawn = kaiming((count * rank, inputs), generator).reshape(count, rank, inputs).transpose(1, 2).contiguous()
        return {**zeros(shapes), "A": drawn}

    def unfit(self, shape: Sequence[int], size: int) -> str:
        odd = [side for side in shape if side % self.blocks]
        return f"has a side of {odd[0]}, which {self.blocks} blocks do not divide" if odd else ""

    def problems(self) -> Iterator[Problem]:
        """Check that the rank is a multiple of the blocks."""
        if self.rank % self.blocks:
            nearest = self.blocks * (self.rank // self.blocks + 1)
            yield Problem(
                f"{self.rank} is not a multiple of blocks: {self.blocks}.", cure=f"Use {nearest}.", path=("rank",)
            )
