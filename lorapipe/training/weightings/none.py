"""No weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    import torch

    from lorapipe.training.noise import Prediction


@dataclass(frozen=True)
class NoWeighting(Weighting):
    """Every timestep counts the same, as the base models were trained  (Ho et al. 2020, eq. 14)."""

    def __call__(self, prediction: Prediction, snr: torch.Tensor) -> torch.Tensor:
        """See `Weighting.__call__`: 1."""
        return snr.new_ones(snr.shape)
