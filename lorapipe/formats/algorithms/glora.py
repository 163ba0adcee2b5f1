"""GLoRA, generalised LoRA (Chavan et al. 2023, arXiv:2306.07967; as LyCORIS, `modules/glora.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm, Tensors, shapes_in_words

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("a1", "a2", "b1", "b2")


class GloraAlgorithm(Algorithm):
    """ΔW = (alpha / rank) · (W · a1 · a2 + b1 · b2).

    `a1` (in, r), `a2` (r, in), `b1` (out, r), `b2` (r, in[, k, k]). LyCORIS before 2.0 swapped the names in each pair. With
    `bm` (r, r, k, k) the second product is in Tucker form.
    """

    keys: ClassVar = {name: f"{name}.weight" for name in (*NAMES, "bm")}
    optional: ClassVar = frozenset({"bm"})

    def rank(self, tensors: Tensors) -> int:
        return int(_in_order(tensors)["b2"].shape[0])

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        if weight is None:
            raise InputError("a GLoRA's update depends on the base's weight.", cure="Pass weight.")
        ours = _in_order(tensors)
        through = torch.einsum(
            "oi...,ir,rj->oj...", weight.to(ours["a1"].dtype), ours["a1"].flatten(1), ours["a2"].flatten(1)
        )
        up, down = ours["b1"].flatten(1), ours["b2"]
        if "bm" in ours:
            beside = torch.einsum("or,rskl,si->oikl", up, ours["bm"], down.flatten(1))
        else:
            beside = (up @ down.flatten(1)).reshape(weight.shape)
        return alpha / self.rank(tensors) * (through + beside)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        ours = _in_order(tensors)
        return {**ours, "a2": ours["a2"] * factor, "b2": ours["b2"] * factor}

    def flaw(self, tensors: Tensors) -> str:
        if any(tensors[name].dim() not in (2, 4) or not tensors[name].numel() for name in NAMES):
            return f"its factors are not matrices, {shapes_in_words(tensors)}"
        ours = _in_order(tensors)
        rank = ours["b2"].shape[0]
        outer = ours["a1"].shape[1], ours["a2"].shape[0], ours["b1"].shape[1]
        if set(outer) != {rank} or ours["a1"].shape[0] != ours["a2"].shape[1]:
            return f"its ranks do not fit, {shapes_in_words(tensors)}"
        return ""


def _in_order(tensors: Tensors) -> dict[str, Tensor]:
    """Return the tensors under LyCORIS 2.0's names; in older files a1 is (r, in) and a2 (in, r)."""
    if tensors["b1"].shape[1] == tensors["b2"].shape[0]:
        return dict(tensors)
    other = {"a1": "a2", "a2": "a1", "b1": "b2", "b2": "b1"}
    return {other.get(name, name): tensor for name, tensor in tensors.items()}
