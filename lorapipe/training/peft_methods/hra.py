"""HRA: reflects the inputs of each module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, inputs_of, kaiming

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Hra(Method):
    """W' = W · H₁ … Hᵣ, Householder reflections  (Yuan et al. 2024, arXiv:2405.17484). Between a LoRA and an OFT."""

    algorithm: ClassVar[str] = "hra"
    convolutions: ClassVar[bool] = True

    rank: int = param(8, "number of reflections, an even one: they begin in pairs that cancel", ge=2, le=256)

    @property
    def size(self) -> int:
        return self.rank

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"u": (inputs_of(shape), size)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        half = kaiming((inputs_of(shape), size // 2), generator)
        return {"u": half.repeat_interleave(2, dim=1)}

    def neutral(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"u": tensors["u"][:, ::2].repeat_interleave(2, dim=1)}

    def problems(self) -> Iterator[Problem]:
        """Check that the rank is even."""
        if self.rank % 2:
            yield Problem(f"{self.rank} is odd.", cure=f"Use {self.rank + 1}.", path=("rank",))
