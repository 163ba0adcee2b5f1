"""DoRA (Liu et al. 2024, arXiv:2402.09353): the direction of W + ΔW times a trained magnitude."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm, Tensors, shape_in_words

if TYPE_CHECKING:
    from torch import Tensor

MAGNITUDE = "dora_scale"
DORA: Mapping[str, str] = {MAGNITUDE: "dora_scale"}
"""Suffix of the magnitudes' key, as LyCORIS and OneTrainer write it."""


class DecomposableAlgorithm(Algorithm):
    """Algorithm with product P and an optional magnitude `dora_scale` m: ΔW = m ⊙ (W + P) / ‖W + P‖ − W.

    m is (out, 1[, 1, 1]) with a norm for each output (LyCORIS' `wd_on_output`, PEFT), or (1, in[, 1, 1]) with a norm for
    each input; ComfyUI, Forge and A1111 read the second form correctly.
    """

    optional: ClassVar = frozenset({MAGNITUDE})
    precise: ClassVar = frozenset({MAGNITUDE})

    @abstractmethod
    def product(self, tensors: Tensors, alpha: float) -> Tensor:
        """Compute P, the update without magnitudes."""

    @abstractmethod
    def product_flaw(self, tensors: Tensors) -> str:
        """Say why the tensors of P do not fit; see `flaw`."""

    def needs_weight(self, tensors: Tensors) -> bool:
        return MAGNITUDE in tensors

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        product = self.product(tensors, alpha)
        if MAGNITUDE not in tensors:
            return product
        if weight is None:
            raise InputError("a DoRA's update depends on the base's weight.", cure="Pass weight.")
        return decomposed(weight, product.reshape(weight.shape), tensors[MAGNITUDE]) - weight

    def flaw(self, tensors: Tensors) -> str:
        plain = {name: tensor for name, tensor in tensors.items() if name != MAGNITUDE}
        if what := self.product_flaw(plain):
            return what
        if (magnitude := tensors.get(MAGNITUDE)) is None:
            return ""
        if sum(side != 1 for side in magnitude.shape) > 1 or magnitude.dim() not in (2, 4):
            return f"its {MAGNITUDE} is {shape_in_words(magnitude)}, not a number for each output or input"
        return ""


def decomposed(weight: Tensor, change: Tensor, magnitude: Tensor) -> Tensor:
    """Compute m ⊙ (W + P) / ‖W + P‖ in P's dtype; the norm is detached, as in the paper (§4.3) and PEFT."""
    import torch

    whole = weight.to(change.dtype) + change
    magnitude = magnitude.reshape(*magnitude.shape, *[1] * (whole.dim() - magnitude.dim()))
    norm = norms(whole.detach(), magnitude).clamp(min=torch.finfo(whole.dtype).tiny)
    return whole * (magnitude / norm)


def norms(weight: Tensor, like: Tensor) -> Tensor:
    """Compute a weight's norms over all axes but one: the axis on which `like` has its entries, outputs or inputs.

    Where `like` has a single entry, it counts as the outputs' axis.
    """
    import torch

    axis = 1 if like.shape[0] == 1 and weight.shape[0] != 1 else 0
    others = [each for each in range(weight.dim()) if each != axis]
    return torch.linalg.vector_norm(weight, dim=others, keepdim=True)
