"""PEFT's settings of an adapter: `adapter_config.json`, and the same in a header of diffusers'."""

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
"""Where diffusers keeps the settings in a safetensors header, the part's name before each."""
UNREAD = ("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication", "fan_in_fan_out")
"""Settings with which the tensors mean another update than they do here."""
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
"""As much of the file as is read here."""


def parse(text: str) -> Config:
    """The settings in an `adapter_config.json`; `InputError` where they are none, or not ones that are read."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its {FILE} is no JSON: {error}.", cure="Save the adapter again.") from None
    if problems := [*flaws(config)]:
        raise InputError(problems)
    return dict(config)


def flaws(config: object) -> Iterator[Problem]:
    """What is wrong with settings, or cannot be read."""
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
    """The settings that give the tensors another meaning."""
    return [name for name in UNREAD if config.get(name)]


def of_header(metadata: Mapping[str, str], part: str) -> Config:
    """The settings of a part in a safetensors header; empty where there are none."""
    try:
        told = json.loads(metadata.get(HEADER, "{}"))
        found = {name.removeprefix(f"{part}."): value for name, value in told.items() if name.startswith(f"{part}.")}
    except (ValueError, AttributeError, RecursionError):
        raise InputError(f"is in PEFT's format with settings that are not read: {HEADER}.", cure=CURE) from None
    if (odd := unread(found)) or any(True for _ in _validator().iter_errors(found)):
        raise InputError(f"is in PEFT's format with settings that are not read: {', '.join(odd) or HEADER}.", cure=CURE)
    return found


def alpha_of(config: Config, path: str, rank: float) -> float:
    """The alpha of a module in kohya's sense, whose scale is alpha / rank; the rank where nothing is said."""
    usual = config.get("lora_alpha", config.get("alpha", rank))
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    found = next((value for pattern, value in patterns.items() if _means(pattern, path)), usual)
    return float(found) * (math.sqrt(rank) if config.get("use_rslora") else 1)


def made_of(weights: AdapterWeights, paths: Mapping[tuple[str, str], str]) -> dict[str, object]:
    """The settings of weights of one part, `paths` being what its modules are called.

    The most frequent rank and alpha are written once, and others module by module.
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
    """Whether a key of a pattern is about a module, as PEFT has it: the path, its end, or a regular expression of it."""
    try:
        return re.match(rf"(.*\.)?({pattern})$", path) is not None
    except re.error:
        return False


@cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(dict(SCHEMA))
