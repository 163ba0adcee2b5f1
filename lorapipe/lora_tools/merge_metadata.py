"""Metadata of merged files: what they were made of, in which ratio."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lorapipe import __version__
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights
from lorapipe.inspection import inspect
from lorapipe.lora_tools.weighted_adapters import WeightedAdapter
from lorapipe.models import Family
from lorapipe.pipeline.delivery_log import HASH, OF_BYTES, OURS, sealed

RECIPE = "lorapipe_merge"
"""The field that has the recipe of a merge: `{"method": …, "parts": [{"file": …, "weight": …}]}`."""
STALE = (*OF_BYTES, "modelspec.thumbnail", "modelspec.usage_hint")
"""Fields of the base that are not true of the merged file."""


class MergedPart(NamedTuple):
    """A file in a merge, and its weight or strengths as text."""

    path: Path
    weight: str


def recipe(method: str, parts: Sequence[MergedPart]) -> dict[str, str]:
    """Return the metadata that tells the mix: `lorapipe_merge`, and `modelspec.merged_from`, which other programs show."""
    told = {"method": method, "parts": [{"file": part.path.name, "weight": part.weight} for part in parts]}
    return {
        RECIPE: json.dumps(told, ensure_ascii=False),
        "modelspec.merged_from": ", ".join(f"{part.path.stem} ({part.weight})" for part in parts),
    }


def lora_metadata(
    base: Family, method: str = "loras"
) -> Callable[[AdapterWeights, Sequence[WeightedAdapter]], Mapping[str, str]]:
    """Return a function that gives the metadata of a sum of adapters: what loaders need, the recipe, the trigger words."""

    def fields(total: AdapterWeights, adapters: Sequence[WeightedAdapter]) -> Mapping[str, str]:
        from lorapipe.metadata import untrained_metadata

        parts = [MergedPart(each.path, each.strengths.in_words()) for each in adapters]
        words = dict.fromkeys(filter(None, (_trigger(each.path) for each in adapters)))
        told = {"modelspec.trigger_phrase": ", ".join(words)} if words else {}
        version = base.base_model_version("epsilon")
        return {**untrained_metadata(type(base), version, total, "full"), **told, **recipe(method, parts)}

    return fields


def _trigger(path: Path) -> str:
    """Return an adapter's trigger words by its metadata."""
    try:
        return inspect(path).report.trigger
    except InputError:
        return ""


def merged_metadata(
    base: Family, title: str, method: str, parts: Sequence[MergedPart], own: Mapping[str, str], digest: str
) -> Mapping[str, str]:
    """Return the metadata of a merged checkpoint: the base's own where it is still true, the recipe, and hashes.

    `own` is the base's metadata, `digest` the SHA-256 of the tensors' bytes.
    """
    kept = {key: value for key, value in own.items() if key not in STALE}
    predicts = kept.get("modelspec.prediction_type", "epsilon")
    prediction = "v_prediction" if predicts in ("v", "v_prediction") else "epsilon"
    named = {"modelspec.title": title} if title else {}
    first = [MergedPart(base.checkpoint.path, "base"), *parts] if method == "adapters" else [*parts]
    return sealed({
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": base.architecture(prediction),
        **kept, **named, **recipe(method, first), OURS: __version__, HASH: digest,
        "modelspec.hash_sha256": f"0x{digest}",
    })  # fmt: skip
