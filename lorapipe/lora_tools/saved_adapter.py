"""An adapter's file that is being written: the room for it, and whether it holds what was computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lorapipe import formats
from lorapipe.errors import InputError, LorapipeError
from lorapipe.formats import AdapterWeights, Names, Place
from lorapipe.lora_tools.disk_space import require_space
from lorapipe.models import Shape
from lorapipe.models._weight_files import TOP

ROUNDING = {"fp32": 4e-6, "fp16": 2**-8, "bf16": 2**-5}
"""Largest relative error of ΔW in a written file: that of both factors, with a margin."""


def require_room(target: Path, weights: AdapterWeights) -> None:
    """Raise `InputError` if the disk has no space for weights in float32."""
    numbers = sum(tensor.numel() for each in weights.modules.values() for tensor in each.tensors.values())
    require_space(target, 4 * numbers)


def require_saved(
    wanted: AdapterWeights,
    part: Path,
    names: Names,
    target: Path,
    dtype: str,
    shapes: Mapping[Place, Shape] | None = None,
) -> float:
    """Read `part` and return the largest relative error of a module's ΔW; where that depends on W, with a random W.

    `shapes` are those of the base's weights, for such modules. `LorapipeError` where the file holds something else.
    """
    worst = _largest_error(wanted, _read_back(part, names, target), shapes or {})
    if not worst <= ROUNDING[dtype]:
        what = f"was not saved as it was computed (relative error of ΔW {worst:.1e})."
        raise LorapipeError(what, where=str(target), cure="Write dtype: fp32 (--set dtype=fp32).")
    return worst


def _read_back(part: Path, names: Names, target: Path) -> AdapterWeights:
    """Read a file that was just written. `LorapipeError` where its number type had no place for the numbers."""
    try:
        return formats.open(part, names)
    except InputError as error:
        what = f"the file written for it {error.problems[0].what}"
        cure = "Its numbers have no place in fp16: write dtype: fp32 (--set dtype=fp32)."
        raise LorapipeError(what, where=str(target), cure=cure) from None


def _largest_error(wanted: AdapterWeights, found: AdapterWeights, shapes: Mapping[Place, Shape]) -> float:
    read, worst = {(part, path.removeprefix(TOP)): module for (part, path), module in found.modules.items()}, 0.0
    for (part, path), module in wanted.modules.items():
        weight = None
        if module.needs_weight:
            weight = torch.randn(shapes[part, path], generator=torch.Generator().manual_seed(0))
        delta = module.delta(weight)
        apart = read[part, path.removeprefix(TOP)].delta(weight).reshape(delta.shape) - delta
        worst = max(worst, float(apart.norm() / delta.norm().clamp(min=1e-12)))
    return worst
