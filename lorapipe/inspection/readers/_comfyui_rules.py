"""Rules of ComfyUI's loader that Forge's, a fork of it, shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lorapipe.inspection._module_names import DENOISER
from lorapipe.inspection.readers import MAGNITUDE, ReadModule, divided_by_norms, is_of_outputs, without_magnitude

if TYPE_CHECKING:
    from torch import Tensor

TEXT_MODULE = re.compile(r"text_model[._]encoder[._]layers[._]\d+[._](mlp[._]fc[12]|self_attn[._](k|q|v|out)_proj)$")
"""Matches the modules of a text encoder in the loader's table of names."""
ATTENTION = re.compile(r"\.to_(q|k|v|out)")


def unknown_name(module: ReadModule, styles: frozenset[str]) -> str:
    """Return why a module is not in the loader's table of names; empty if it is."""
    style, part, path = module.name.style, module.name.part, module.name.path
    if style not in styles:
        return f"names in the style of {style or 'another program'} are not known"
    if part != DENOISER:
        return "" if TEXT_MODULE.fullmatch(path) else "this module of the text encoder has no name"
    older = any(".processor." in key for key in module.keys)
    if style == "diffusers" and ATTENTION.search(path) and not older:
        return "diffusers' names of attention are only known with “processor” in them"
    return ""


def misread_dora(module: ReadModule) -> str:
    """Return how the loader's ΔW of a DoRA with magnitudes per output is wrong; empty for other modules."""
    return "divides the weights of a DoRA of outputs by the norm of W, not of W + ΔW" if module.of_outputs else ""


def decomposed(module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor, strength: float) -> Tensor:
    """Return a DoRA's ΔW. With a magnitude per output, the loader wrongly uses the norm of W instead of W + ΔW."""
    product, magnitude = without_magnitude(module, tensors).reshape(weight.shape), tensors[MAGNITUDE]
    if is_of_outputs(tensors):
        return strength * divided_by_norms(weight, product, magnitude, weight, 0)
    return strength * divided_by_norms(weight, product, magnitude, weight + product, 1)


def is_tucker_lokr(module: ReadModule) -> bool:
    """Whether a LoKr has a Tucker core, on which `torch.kron` fails, so that the weight is unchanged."""
    return module.algorithm.name == "lokr" and "t2" in module.shorts
