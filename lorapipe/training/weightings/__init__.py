"""Loss weightings by noise level.

A weighting is a spec with one formula: the weight of the squared error of ε as a function of the signal-to-noise ratio
(SNR). The base's `Diffusion` converts it for other prediction types. The weight multiplies each sample's loss after the
mean over its elements, as in kohya's sd-scripts (`library/custom_train_functions.py`).

To add a weighting, create a file here; import torch inside its functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import Problem
from lorapipe.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion


@dataclass(frozen=True)
class Weighting(Spec, contract="type"):
    """Loss weight of each timestep."""

    predictions: ClassVar[frozenset[str] | None] = None
    """Prediction types (`Diffusion.prediction`) that it is defined for; None for all."""

    def problems_with(self, prediction: str) -> Iterator[Problem]:
        """Yield a problem where it is not defined for this prediction type (`Diffusion.prediction`)."""
        if self.predictions is not None and prediction not in self.predictions:
            wanted = " or ".join(sorted(self.predictions))
            what = f"{self.name} is for bases that predict {wanted}; this one predicts {prediction}."
            cure = "Use min_snr or none, or say what the base predicts (prediction, beside its checkpoint)."
            yield Problem(what, cure=cure, path=("weighting",))

    def __call__(self, diffusion: Diffusion, t: Tensor) -> Tensor:
        """Return weights (B,), finite and ≥ 0, of the squared error of the network's output at t (B,)."""
        return diffusion.weight(t, self.epsilon, self.v)

    @abstractmethod
    def epsilon(self, snr: Tensor) -> Tensor:
        """Return weights (B,) of the squared error of ε, for signal-to-noise ratios (B,) ≥ 0."""

    def v(self, snr: Tensor) -> Tensor:
        """Return weights (B,) of the squared error of v, (SNR + 1)/SNR times larger; a paper or kohya may differ."""
        return self.epsilon(snr) * snr / (snr + 1)
