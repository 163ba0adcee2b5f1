"""No loss weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class NoWeighting(Weighting):
    """All timesteps weigh the same, as in the training of base models  (Ho et al. 2020, eq. 14)."""

    def __call__(self, diffusion: Diffusion, t: Tensor) -> Tensor:
        """Return 1 for every prediction type."""
        return self.epsilon(diffusion.snr(t))

    def epsilon(self, snr: Tensor) -> Tensor:
        return snr.new_ones(snr.shape)
