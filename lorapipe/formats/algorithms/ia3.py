"""(IA)³: a factor for each output or input of a module (Liu et al. 2022, arXiv:2205.05638; as LyCORIS, `modules/ia3.py`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm, Tensors, shape_in_words, shapes_in_words

if TYPE_CHECKING:
    from torch import Tensor


class Ia3Algorithm(Algorithm):
    """ΔW = W ⊙ `weight`: one factor for each output, or for each input where `on_input` is 1.

    `weight` is (n,) for a Linear layer and (1, n, 1, 1) for a convolution. The bias is unchanged in LyCORIS' form; in PEFT's
    (`scales_bias`), factors of outputs multiply it too.
    """

    keys: ClassVar = {"weight": "weight", "on_input": "on_input", "scales_bias": "ia3_scales_bias"}
    peft_keys: ClassVar = {"weight": "ia3_l", "on_input": "on_input", "scales_bias": "ia3_scales_bias"}
    peft_type: ClassVar = "IA3"
    peft_alpha: ClassVar = ""
    peft_settings: ClassVar = {
        "feedforward_modules": {"type": ["array", "string", "null"], "format": "regex", "default": None},
    }
    peft_precise: ClassVar = frozenset({"weight"})  # PEFT's file holds 1 + weight
    flags: ClassVar = frozenset({"on_input", "scales_bias"})
    optional: ClassVar = frozenset({"scales_bias"})
    has_alpha: ClassVar = False

    def rank(self, tensors: Tensors) -> int:
        return 1

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return 1.0

    def needs_weight(self, tensors: Tensors) -> bool:
        return True

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            raise InputError("an (IA)³'s update depends on the base's weight.", cure="Pass weight.")
        factors, later = tensors["weight"].flatten(), [1] * (weight.dim() - 2)
        shape = [1, -1, *later] if bool(tensors["on_input"].any()) else [-1, 1, *later]
        return weight.to(factors.dtype) * factors.reshape(shape)

    def needs_bias(self, tensors: Tensors) -> bool:
        return "scales_bias" in tensors

    def delta_bias(self, tensors: Tensors, bias: Tensor | None = None) -> Tensor | None:
        return None if bias is None or "scales_bias" not in tensors else tensors["weight"].flatten() * bias

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "weight": tensors["weight"] * factor}

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        """Read PEFT's factor l = 1 + weight, (1, in) or (out, 1), for a convolution (1, n, 1, 1)."""
        import torch

        factor = tensors["weight"]
        if factor.dim() not in (2, 4):
            what = f"{path} has ia3_l of {shape_in_words(factor)}, not a factor for each output or input."
            raise InputError(what, cure="The file is damaged.")
        if factor.dim() == 2:
            on_input, weight = factor.shape[0] == 1 != factor.shape[1], factor.flatten()
        else:
            on_input, weight = _is_named(path, config["feedforward_modules"]), factor
        scales = {} if on_input else {"scales_bias": torch.tensor([1])}
        return {"weight": weight - 1, "on_input": torch.tensor([int(on_input)]), **scales}

    def to_peft(self, tensors: Tensors) -> dict[str, Tensor]:
        factor, on_input = 1 + tensors["weight"], bool(tensors["on_input"].any())
        if not on_input and "scales_bias" not in tensors:
            what = "this (IA)³ leaves biases as they are, and PEFT would multiply them too."
            raise InputError(what, cure="Export it in kohya's format, or with convert: diff.")
        shape = (1, -1) if on_input else (-1, 1)
        return {"weight": factor.reshape(shape) if factor.dim() == 1 else factor}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        return {
            "feedforward_modules": sorted(path for path, (each, _) in modules.items() if bool(each["on_input"].any()))
        }

    def flaw(self, tensors: Tensors) -> str:
        weight = tensors["weight"]
        if not weight.numel() or sum(side != 1 for side in weight.shape) > 1:
            return f"its shapes do not fit, {shapes_in_words(tensors)}"
        return ""


def _is_named(path: str, names: object) -> bool:
    """Return whether a module is one of PEFT's `feedforward_modules`: a regular expression, or ends of paths."""
    if isinstance(names, str):
        with suppress(re.error):
            return re.fullmatch(names, path) is not None
    return isinstance(names, list) and any(path.endswith(str(name)) for name in names)
