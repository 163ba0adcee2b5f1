"""Detect the base family of an adapter from the widths of its modules and the names of its parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lorapipe.formats._reader import NamedModule
from lorapipe.inspection._module_names import TEXT, TEXT_2, ModuleName

if TYPE_CHECKING:
    from torch import Tensor

SD1, SD2, SDXL, REFINER = "SD1.x", "SD2.x", "SDXL", "SDXL refiner"
CONTEXTS = {768: SD1, 1024: SD2, 2048: SDXL, 1280: REFINER}
"""Width of the text embeddings in a U-Net's cross attention → family."""
TEXTS = {768: SD1, 1024: SD2}
"""Width of the only text encoder → family."""
SIDES = (("down", 1), ("w1_b", 1), ("diff", 1), ("a1", 0))
"""Short names of tensors with an axis of the module's inputs, and the index of that axis."""
ELSEWHERE = (
    (r"(double|single)_blocks|single_transformer_blocks", "FLUX"),
    (r"joint_blocks|add_q_proj", "SD3"),
    (r"^lora_prior|^lora_transformer|^transformer\.|^diffusion_model\.", "another family"),
)
"""Patterns of module names → families that cannot be trained here."""


def of_modules(modules: Iterable[tuple[NamedModule, ModuleName]]) -> str:
    """Return the family of an adapter: `SD1.x`, `SD2.x`, `SDXL`, `SDXL refiner` …; empty if unknown."""
    found = list(modules)
    if any(name.part == TEXT_2 or name.style == "kohya-ldm" for _, name in found):
        return SDXL
    told = Counter(filter(None, (_told_by(module, name) for module, name in found)))
    return told.most_common(1)[0][0] if told else ""


def of_vectors(widths: Iterable[int]) -> str:
    """Return the family whose text encoders have vectors of these widths; empty if unknown."""
    seen = set(widths)
    return SDXL if seen == {768, 1280} else TEXTS.get(seen.pop(), "") if len(seen) == 1 else ""


def of_names(names: Iterable[str]) -> str:
    """Return a family that cannot be trained here, by names of modules; empty if unknown."""
    return next((family for pattern, family in ELSEWHERE if any(re.search(pattern, name) for name in names)), "")


def _told_by(module: NamedModule, name: ModuleName) -> str:
    if re.search(r"attn2[._]to_[kv]$", name.path):
        return CONTEXTS.get(inputs(module.tensors), "")
    if name.part == TEXT and re.search(r"self_attn[._][qkv]_proj$", name.path):
        return TEXTS.get(inputs(module.tensors), "")
    return ""


def inputs(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of a module's inputs, from the tensors of its update; 0 if unknown."""
    shapes = {short: tuple(tensor.shape) for short, tensor in tensors.items()}
    for short, side in SIDES:
        if short in shapes and len(shapes[short]) > side:
            return shapes[short][side]
    left, right = (shapes.get(one) or shapes.get(f"{one}_b", ()) for one in ("w1", "w2"))
    return left[1] * right[1] if len(left) > 1 and len(right) > 1 else 0
