"""Weightings: how much the loss of a sample counts, by how noisy it is.

A weighting is a spec with one pure function of the signal-to-noise ratio. It multiplies each sample's loss after the mean
over the picture, as in kohya's sd-scripts (`library/custom_train_functions.py`).

To add one, create a file here; import torch inside `__call__`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch

    from lorapipe.training.noise import Prediction


@dataclass(frozen=True)
class Weighting(Spec, contract="type"):
    """The weight of each timestep in the loss."""

    predictions: ClassVar[frozenset[str]] = frozenset({"epsilon", "v_prediction"})
    """What a base may predict for it to mean anything."""

    @abstractmethod
    def __call__(self, prediction: Prediction, snr: torch.Tensor) -> torch.Tensor:
        """Weights (B,), finite and ≥ 0, for signal-to-noise ratios (B,) ≥ 0, by what the base predicts."""
