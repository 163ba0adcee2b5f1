"""P2 weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import param
from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class P2(Weighting):
    """1 / (1 + SNR)^gamma: what is nearly clean counts less  (Choi et al. 2022, arXiv:2204.00227, eq. 8 with k = 1)."""

    gamma: float = param(1.0, "how much less: 0 is the plain loss", ge=0, le=2)

    def epsilon(self, snr: Tensor) -> Tensor:
        return (1 + snr) ** -self.gamma
