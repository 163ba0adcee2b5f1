"""The error of v, counted as that of the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.training.weightings import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AsEpsilon(Weighting):
    """Of a base that predicts v, or a flow: each error counts as that of the noise would, so less the noisier the picture is
    (kohya's `scale_v_pred_loss_like_noise_pred`; Salimans & Ho 2022, arXiv:2202.00512, §4).
    """

    predictions: ClassVar[frozenset[str]] = frozenset({"v_prediction", "flow"})

    def epsilon(self, snr: Tensor) -> Tensor:
        """1; for v SNR/(SNR + 1), the factor by which ‖Δε‖² is smaller than ‖Δv‖²."""
        return snr.new_ones(snr.shape)
