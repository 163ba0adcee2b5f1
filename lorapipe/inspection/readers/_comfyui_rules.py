"""Rules of ComfyUI's loader that Forge's, which was made from it, shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lorapipe.inspection._module_names import DENOISER
from lorapipe.inspection.readers import MAGNITUDE, ReadModule, divided_by_norms, is_of_outputs, without_magnitude

if TYPE_CHECKING:
    from torch import Tensor

TEXT_MODULE = re.compile(r"text_model[._]encoder[._]layers[._]\d+[._](mlp[._]fc[12]|self_attn[._](k|q|v|out)_proj)$")
"""The modules of a text encoder that have names for adapters."""
ATTENTION = re.compile(r"\.to_(q|k|v|out)")


def unknown_name(module: ReadModule, styles: frozenset[str]) -> str:
    """Why the loader's table of names does not have a module; empty where it has."""
    style, part, path = module.name.style, module.name.part, module.name.path
    if style not in styles:
        return f"names in the style of {style or 'another program'} are not known"
    if part != DENOISER:
        return "" if TEXT_MODULE.fullmatch(path) else "of a text encoder's modules this one has no name"
    older = any(".processor." in key for key in module.keys)
    if style == "diffusers" and ATTENTION.search(path) and not older:
        return "diffusers' names of attention are known with “processor” in them alone"
    return ""


def misread_dora(module: ReadModule) -> str:
    """What is wrong with a DoRA of outputs, in words."""
    return "divides the weights of a DoRA of outputs by the norm of W, not of W + ΔW" if module.of_outputs else ""


def decomposed(module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor, strength: float) -> Tensor:
    """A DoRA: with a magnitude for each output the norm is that of W, where it should be that of W + ΔW."""
    product, magnitude = without_magnitude(module, tensors).reshape(weight.shape), tensors[MAGNITUDE]
    if is_of_outputs(tensors):
        return strength * divided_by_norms(weight, product, magnitude, weight, 0)
    return strength * divided_by_norms(weight, product, magnitude, weight + product, 1)


def is_tucker_lokr(module: ReadModule) -> bool:
    """A LoKr with a core: `torch.kron` fails on it, and the weight stays as it was."""
    return module.algorithm.name == "lokr" and "t2" in module.shorts
