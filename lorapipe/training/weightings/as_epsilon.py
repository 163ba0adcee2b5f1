"""v-prediction loss weighted like ε-prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AsEpsilon(Weighting):
    """For bases that predict v or a flow: weights the loss as if they predicted ε, so less at higher noise levels
    (kohya's `scale_v_pred_loss_like_noise_pred`; Salimans & Ho 2022, arXiv:2202.00512, §4).
    """

    predictions: ClassVar[frozenset[str]] = frozenset({"v_prediction", "flow"})

    def epsilon(self, snr: Tensor) -> Tensor:
        """Return 1; for v that gives SNR/(SNR + 1) = ‖Δε‖² / ‖Δv‖²."""
        return snr.new_ones(snr.shape)
