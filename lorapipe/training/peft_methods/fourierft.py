"""FourierFT: trains a few coefficients of ΔW's Fourier transform."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import param
from lorapipe.training.peft_methods import Method, Shapes, flag, zeros

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class FourierFt(Method):
    """ΔW = scaling · Re IFFT₂ of n coefficients at random places  (Gao et al. 2024, arXiv:2405.03003). Very small files."""

    algorithm: ClassVar[str] = "fourierft"
    rate_factor: ClassVar[float] = 100.0
    sizes_differ: ClassVar[bool] = True

    frequencies: int = param(1000, "trained coefficients of each module, at most all of them", ge=1, le=1_000_000)
    scaling: float = param(150.0, "factor on the update: 100 to 300", gt=0, le=1e5)
    seed: int = param(777, "seed of the coefficients' places (PEFT's random_loc_seed)", ge=0, le=2**31)

    @property
    def size(self) -> int:
        return self.frequencies

    @property
    def alpha(self) -> float:
        return self.scaling

    def shapes(self, shape: Sequence[int], size: int) -> Shapes:
        return {"spectrum": (min(size, math.prod(shape)),)}

    def initial(
        self, shape: Sequence[int], size: int, generator: torch.Generator, weight: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        import torch

        flags = {"seed": flag(self.seed), "sides": torch.tensor(tuple(shape))}
        return {**zeros(self.shapes(shape, size)), **flags}
