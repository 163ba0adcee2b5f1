"""PEFT's settings of an adapter: `adapter_config.json`, and their copy in the header of diffusers' files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from statistics import mode
from typing import Any

from lorapipe.errors import InputError, Problem
from lorapipe.formats._weights import AdapterWeights
from lorapipe.formats.algorithms import Algorithm

FILE, TENSORS = "adapter_config.json", "adapter_model.safetensors"
HEADER = "lora_adapter_metadata"
"""Metadata key of the settings in diffusers' safetensors header; each is prefixed with the part's name."""
UNREAD = ("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication", "fan_in_fan_out")
"""Settings that change the meaning of the tensors, and are not supported."""
CURE = "Save it in kohya's format, where each module has its alpha."

Config = Mapping[str, Any]
SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "peft_type": {"type": "string"},
        "r": {"type": "integer", "minimum": 1},
        "lora_alpha": {"type": "number"},
        "alpha": {"type": "number"},
        "rank_pattern": {"type": ["object", "null"], "additionalProperties": {"type": "integer", "minimum": 1}},
        "alpha_pattern": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
        "use_rslora": {"type": "boolean"},
        "bias": {"enum": ["none"]},
        "target_modules": {"type": ["array", "string", "null"]},
    },
}
"""The settings that are read here."""


def parse(text: str) -> Config:
    """Parse an `adapter_config.json`; `InputError` where it is invalid or has unsupported settings."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its {FILE} is no JSON: {error}.", cure="Save the adapter again.") from None
    if problems := [*flaws(config)]:
        raise InputError(problems)
    return dict(config)


def flaws(config: object) -> Iterator[Problem]:
    """Yield invalid and unsupported settings."""
    for error in _validator().iter_errors(config):
        where = ".".join(map(str, error.absolute_path))
        yield Problem(f"its {FILE} is not right: {where + ': ' if where else ''}{error.message}.", cure=CURE)
        return
    assert isinstance(config, Mapping)
    known = [algorithm.peft_type for algorithm in map(Algorithm.of, Algorithm.registry.names()) if algorithm.peft_type]
    if (kind := config.get("peft_type")) not in known:
        yield Problem(f"is PEFT's {kind}, which is not read.", cure=f"{', '.join(known)} are read.")
    if odd := unread(config):
        yield Problem(f"is in PEFT's format with settings that are not read: {', '.join(odd)}.", cure=CURE)


def unread(config: Config) -> list[str]:
    """Return the settings of `UNREAD` that are on."""
    return [name for name in UNREAD if config.get(name)]


def of_header(metadata: Mapping[str, str], part: str) -> Config:
    """Return a part's settings from a safetensors header; empty where there are none."""
    try:
        told = json.loads(metadata.get(HEADER, "{}"))
        found = {name.removeprefix(f"{part}."): value for name, value in told.items() if name.startswith(f"{part}.")}
    except (ValueError, AttributeError, RecursionError):
        raise InputError(f"is in PEFT's format with settings that are not read: {HEADER}.", cure=CURE) from None
    if (odd := unread(found)) or any(True for _ in _validator().iter_errors(found)):
        raise InputError(f"is in PEFT's format with settings that are not read: {', '.join(odd) or HEADER}.", cure=CURE)
    return found


def alpha_of(config: Config, path: str, rank: float) -> float:
    """Return a module's alpha in kohya's sense (scale = alpha / rank); the rank where the settings have none."""
    usual = config.get("lora_alpha", config.get("alpha", rank))
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    found = next((value for pattern, value in patterns.items() if _means(pattern, path)), usual)
    return float(found) * (math.sqrt(rank) if config.get("use_rslora") else 1)


def made_of(weights: AdapterWeights, paths: Mapping[tuple[str, str], str]) -> dict[str, object]:
    """Make the settings for the weights of one part; `paths` maps places to module paths.

    The most frequent rank and alpha become the defaults; the other modules get patterns.
    """
    (algorithm,) = map(Algorithm.of, weights.algorithms)
    ranks = {paths[place]: module.rank for place, module in weights.modules.items()}
    alphas = {paths[place]: module.alpha for place, module in weights.modules.items()}
    rank, alpha = mode(ranks.values()), mode(alphas.values())
    return {
        "peft_type": algorithm.peft_type,
        "r": rank,
        ("lora_alpha" if algorithm.peft_type == "LORA" else "alpha"): _plain(alpha),
        "rank_pattern": {path: value for path, value in ranks.items() if value != rank},
        "alpha_pattern": {path: _plain(value) for path, value in alphas.items() if value != alpha},
        "target_modules": sorted(ranks),
        "inference_mode": True,
    }


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


def _means(pattern: str, path: str) -> bool:
    """Return whether a pattern's key matches a module, by PEFT's rule: its path, the path's end, or a regular expression."""
    try:
        return re.match(rf"(.*\.)?({pattern})$", path) is not None
    except re.error:
        return False


@cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(dict(SCHEMA))
