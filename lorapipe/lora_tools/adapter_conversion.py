"""Write an adapter's file in another format, number type or form, and read it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from lorapipe import __version__, formats
from lorapipe.errors import InputError, counted
from lorapipe.formats import AdapterWeights, Place
from lorapipe.inspection import inspect
from lorapipe.lora_tools.adapter_sum import Weight, base_weight
from lorapipe.lora_tools.file_options import ConvertedFileOptions
from lorapipe.lora_tools.merge_metadata import STALE
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.lora_tools.publication import unpublished
from lorapipe.lora_tools.published_base import module_shapes, published_base
from lorapipe.lora_tools.saved_adapter import require_room, require_saved
from lorapipe.metadata import hashes
from lorapipe.models import Family
from lorapipe.percent import percent
from lorapipe.pipeline.delivery_log import OURS, sealed

OWN = {"F16": "fp16", "BF16": "bf16"}
"""safetensors' types of a file → ours; others are written as fp32."""


def convert_adapter(path: Path, target: Path, options: ConvertedFileOptions, tell: Tell = silent) -> str:
    """Write the file, and return what it holds, in words. `InputError` where the format has no place for it."""
    base = published_base([path])
    names, found = base.module_names(), inspect(path)
    weights = formats.open(path, names)
    if options.convert == "own":
        ready, error = weights.portable(), 0.0
    else:
        ready, error = _converted(weights, base, options, tell)
    dtype = _dtype(found.report.dtypes) if options.dtype == "own" else options.dtype
    metadata = partial(_metadata, found.metadata, options.convert != "own")
    require_room(target, ready)
    with unpublished(target) as part:
        try:
            formats.save(ready, names, part, options.format, dtype=dtype, metadata=metadata)
        except InputError as problem:
            hint = " Or add --set convert=lora, which every format holds." if options.convert == "own" else ""
            raise InputError(replace(each, cure=f"{each.cure}{hint}".strip()) for each in problem.problems) from None
        worst = require_saved(ready, part, names, target, dtype, module_shapes(base))
    lost = f", with an error of {percent(error, 1)} (of the norm of ΔW)" if error > 1e-6 else ""
    words = f" and {counted(len(ready.embeddings), 'word')}" if ready.embeddings else ""
    return f"{counted(len(ready.modules), 'module')}{words}, {dtype}{lost}; read back within {worst:.1e}"


def _converted(
    weights: AdapterWeights, base: Family, options: ConvertedFileOptions, tell: Tell
) -> tuple[AdapterWeights, float]:
    assert options.convert != "own"
    weight = base_weight(base)
    shapes = module_shapes(base)
    found = formats.converted(
        weights, options.convert, options.convert_rank, shapes.__getitem__,
        partial(_tensor, weight, "weight"), partial(_tensor, weight, "bias"), tell,
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
    return sealed({**kept, OURS: __version__, **hashes(formats.serialize(tensors, {}))})
