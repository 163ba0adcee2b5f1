"""Write an adapter's file in another format, number type or form, and read it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lorapipe import __version__, formats
from lorapipe.errors import InputError, LorapipeError, counted
from lorapipe.formats import AdapterWeights, Place
from lorapipe.inspection import inspect
from lorapipe.lora_tools.adapter_sum import ROUNDING, Weight, base_weight, read_back
from lorapipe.lora_tools.checkpoint_output import require_space
from lorapipe.lora_tools.file_options import ConvertedFileOptions
from lorapipe.lora_tools.merge_metadata import STALE
from lorapipe.lora_tools.publication import unpublished
from lorapipe.lora_tools.published_base import module_shapes, published_base
from lorapipe.metadata import hashes
from lorapipe.models import Family
from lorapipe.pipeline.delivery_log import OURS, SEAL, seal

OWN = {"F16": "fp16", "BF16": "bf16"}
"""safetensors' types of a file → ours; others are written as fp32."""


def convert_adapter(path: Path, target: Path, options: ConvertedFileOptions) -> str:
    """Write the file, and return what it holds, in words. `InputError` where the format has no place for it."""
    base = published_base([path])
    names, found = base.module_names(), inspect(path)
    weights = formats.open(path, names)
    if options.convert == "own":
        ready, error = weights.portable(), 0.0
    else:
        ready, error = _converted(weights, base, options)
    dtype = _dtype(found.report.dtypes) if options.dtype == "own" else options.dtype
    metadata = partial(_metadata, found.metadata, options.convert != "own")
    require_space(
        target, 4 * sum(tensor.numel() for each in ready.modules.values() for tensor in each.tensors.values())
    )
    with unpublished(target) as part:
        try:
            formats.save(ready, names, part, options.format, dtype=dtype, metadata=metadata)
        except InputError as problem:
            hint = " Or add --set convert=lora, which every format holds." if options.convert == "own" else ""
            raise InputError(replace(each, cure=f"{each.cure}{hint}".strip()) for each in problem.problems) from None
        worst = _worst(ready, read_back(part, names, target), base)
        if not worst <= ROUNDING[dtype]:
            what = f"was not saved as it is (relative error of ΔW {worst:.1e})."
            raise LorapipeError(what, where=str(target), cure="Write --set dtype=fp32.")
    lost = f", with an error of {error:.1%} (of the norm of ΔW)" if error > 1e-6 else ""
    words = f" and {counted(len(ready.embeddings), 'word')}" if ready.embeddings else ""
    return f"{counted(len(ready.modules), 'module')}{words}, {dtype}{lost}; read back within {worst:.1e}"


def _converted(weights: AdapterWeights, base: Family, options: ConvertedFileOptions) -> tuple[AdapterWeights, float]:
    assert options.convert != "own"
    weight = base_weight(base)
    shapes = module_shapes(base)
    found = formats.converted(
        weights, options.convert, options.convert_rank, shapes.__getitem__,
        partial(_tensor, weight, "weight"), partial(_tensor, weight, "bias"),
    )  # fmt: skip
    return found.weights, found.error


def _tensor(weight: Weight, kind: str, place: Place) -> Tensor:
    return weight(place, kind)


def _dtype(types: Mapping[str, int]) -> str:
    """Return the number type that most of a file's tensors have."""
    return OWN.get(Counter(types).most_common(1)[0][0], "fp32")


def _metadata(own: Mapping[str, str], is_another: bool, tensors: Mapping[str, Tensor]) -> Mapping[str, str]:
    """Return the file's own metadata with new hashes; of a file in another form without its network settings."""
    network = "ss_network_" if is_another else "\0"
    kept = {key: value for key, value in own.items() if key not in STALE and not key.startswith(network)}
    chosen = {**kept, OURS: __version__, **hashes(formats.serialize(tensors, {}))}
    return {**chosen, SEAL: seal(chosen)}


def _worst(wanted: AdapterWeights, found: AdapterWeights, base: Family) -> float:
    """Return the largest relative error of a module's ΔW; where it depends on W, with a random W."""
    shapes, worst = module_shapes(base), 0.0
    for place, module in wanted.modules.items():
        weight = None
        if module.needs_weight:
            weight = torch.randn(shapes[place], generator=torch.Generator().manual_seed(0))
        delta = module.delta(weight)
        apart = found.modules[place].delta(weight).reshape(delta.shape) - delta
        worst = max(worst, float(apart.norm() / delta.norm().clamp(min=1e-12)))
    return worst
