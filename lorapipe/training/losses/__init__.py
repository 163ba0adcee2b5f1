"""Losses: how far a prediction is from its target.

A loss is a spec with one pure function over tensors; weighting by timestep (min-SNR …) and by picture comes after it, in
`lorapipe.training.noise` and the loop.

To add one, create a file here.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.spec import Spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Loss(Spec, contract="type"):
    """The distance between prediction and target."""

    @abstractmethod
    def __call__(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Elementwise loss of two (B, C, h, w) tensors, in float32, not reduced."""
