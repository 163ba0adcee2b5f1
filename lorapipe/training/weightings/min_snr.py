"""Min-SNR-γ loss weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import param
from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MinSnr(Weighting):
    """Clamps the loss weight of low noise levels (SNR above γ)  (Hang et al. 2023, arXiv:2303.09556, eq. 8 and app. A).

    Nearly clean pictures teach little, but weigh as much as all others without it. Training converges several times faster
    with it.
    """

    gamma: float = param(
        5.0,
        "γ, the SNR above which a picture weighs less: 5 is recommended, 1 strong, 20 nearly no weighting. At most 5 suits "
        "characters, at least 5 styles and concepts",
        gt=0,
        le=100,
        kohya=("min_snr_gamma",),
    )

    def epsilon(self, snr: Tensor) -> Tensor:
        """Return min(SNR, γ)/SNR."""
        return (self.gamma / snr).clamp(max=1)  # 1 where SNR is 0

    def v(self, snr: Tensor) -> Tensor:
        """Return min(SNR, γ)/(SNR + 1), which rounds like kohya's."""
        return snr.clamp(max=self.gamma) / (snr + 1)
