"""Reads a file of weights back, and compares every module's ΔW with what was to be written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe import formats
from lorapipe.errors import LorapipeError
from lorapipe.training.adapter_layers.base_weights import drawn

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats import AdapterWeights
    from lorapipe.models import Model

ROUNDING = {"fp32": 1e-6, "fp16": 2**-10, "bf16": 2**-7}
"""Largest relative error of ΔW from rounding both factors: half a unit in the last place each, with a margin."""
EPSILON = 2**-22
"""Rounding of float32 in sums with the base's weight, which is relative to the weight."""


def largest_error(path: Path, learned: AdapterWeights, model: Model, dtype: str) -> float:
    """Return the largest relative error of a module's ΔW in a file of this dtype. `LorapipeError` if it exceeds rounding.

    If ΔW depends on the base's weights, random ones are used instead: no weights are loaded.
    """
    read = formats.open(path, model.kohya_names())
    if read.modules.keys() != learned.modules.keys():
        raise LorapipeError("the file read back has other modules than the adapter.", where=str(path))
    worst = 0.0
    for place, module in learned.modules.items():
        needed = module.needs_weight or read.modules[place].needs_weight
        weight = drawn(model, place) if needed else None
        wanted, found = module.delta(weight), read.modules[place].delta(weight)
        size, apart = float(wanted.norm()) or 1e-12, float((found - wanted).norm())
        error = apart / size
        if not apart <= 4 * ROUNDING[dtype] * size + (0 if weight is None else EPSILON * float(weight.norm())):
            what = f"ΔW of {' '.join(place)} was not saved exactly (relative error {error:.1e})."
            raise LorapipeError(what, where=str(path), cure="Export with dtype: fp32 and report this.")
        worst = max(worst, error)
    return max(worst, _largest_error_of_words(path, learned, read, dtype))


def _largest_error_of_words(path: Path, learned: AdapterWeights, read: AdapterWeights, dtype: str) -> float:
    """Return the same for vectors of words, in order, since not every format has their names."""
    worst = 0.0
    if (nets := learned.hypernetwork) is not None:
        theirs = read.hypernetwork.tensors() if read.hypernetwork else {}
        worst = max(_error(theirs[key], tensor) for key, tensor in nets.tensors().items())
        _require_within(worst, dtype, "networks", path)
    for wanted, found in zip(learned.embeddings.values(), read.embeddings.values(), strict=True):
        if wanted.keys() != found.keys():
            raise LorapipeError("the file read back has vectors for other text encoders.", where=str(path))
        for part, vectors in wanted.items():
            error = _error(found[part], vectors)
            _require_within(error, dtype, "vectors", path)
            worst = max(worst, error)
    return worst


def _require_within(error: float, dtype: str, what: str, path: Path) -> None:
    if not error <= ROUNDING[dtype]:
        raise LorapipeError(f"the {what} were not saved exactly (relative error {error:.1e}).", where=str(path))


def _error(found: Tensor, wanted: Tensor) -> float:
    """Return the relative error of a tensor."""
    return float((found.float() - wanted).norm() / wanted.norm().clamp(min=1e-12))
