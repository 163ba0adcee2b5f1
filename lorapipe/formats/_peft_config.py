"""PEFT's settings of an adapter: `adapter_config.json`, and their copy in the header of diffusers' files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
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
NEUTRAL = re.compile(
    r"""peft_(type|version) | task_type | auto_mapping | base_model_name_or_path | revision | inference_mode | runtime_config
    | (target|exclude)_modules | layers_(to_transform|pattern) | r | rank_pattern | alpha_pattern | bias | target_parameters
    | init(_\w+)?_weights | \w*dropout(_scale)? | megatron_(core|config) | qalora_group_size | ensure_weight_tying
    | (loftq|eva|corda|lora_ga)_config | use_effective_conv2d | decompose_(both|factor) | (lora_)?alpha | use_rslora""",
    re.VERBOSE,
)
"""Matches settings that are read, or that do not change the meaning of the tensors."""
QUANTIFIED_GROUP = re.compile(r"\)\s*[*+?{]")
MOST_QUANTIFIERS, LONGEST_PATTERN = 3, 500
"""Limits of a module pattern. Others could take hours to match, and a file from outside decides what they are."""

Config = Mapping[str, Any]
SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "peft_type": {"type": "string"},
        "r": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
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
    return {**_defaults(algorithm_of(config)), **config}


def algorithm_of(config: Config) -> Algorithm:
    """Return the algorithm of valid settings."""
    return next(each for each in _known() if each.peft_type == config["peft_type"])


def _known() -> list[Algorithm]:
    return [algorithm for algorithm in map(Algorithm.of, Algorithm.registry.names()) if algorithm.peft_type]


def _defaults(algorithm: Algorithm) -> dict[str, object]:
    schemas: Mapping[str, Any] = algorithm.peft_settings
    return {name: schema["default"] for name, schema in schemas.items() if "default" in schema}


def flaws(config: object) -> Iterator[Problem]:
    """Yield invalid and unsupported settings."""
    for error in _validator().iter_errors(config):
        where = ".".join(map(str, error.absolute_path))
        yield Problem(f"its {FILE} is not right: {where + ': ' if where else ''}{error.message}.", cure=CURE)
        return
    assert isinstance(config, Mapping)
    known = {algorithm.peft_type: algorithm for algorithm in _known()}
    if (algorithm := known.get(config.get("peft_type", ""))) is None:
        cure = f"{', '.join(known)} are read."
        yield Problem(f"is PEFT's {config.get('peft_type')}, which is not read.", cure=cure)
        return
    yield from _invalid(config, algorithm.peft_settings)
    if odd := [*unread(config), *_unknown(config, algorithm)]:
        yield Problem(f"is in PEFT's format with settings that are not read: {', '.join(odd)}.", cure=CURE)
    for pattern in _patterns(config, algorithm):
        if _is_slow(pattern):
            what = f"its {FILE} has a pattern of modules that is too intricate: {pattern[:80]!r}."
            yield Problem(what, cure="Write the modules' paths out.")


def _invalid(config: Mapping[str, object], schemas: Mapping[str, object]) -> Iterator[Problem]:
    """Yield the settings that do not fit their JSON schemas."""
    import jsonschema

    for error in jsonschema.Draft202012Validator({"properties": dict(schemas)}).iter_errors(config):
        where = ".".join(map(str, error.absolute_path))
        yield Problem(f"its {FILE} has {where}: {error.message}.", cure="Such a setting is not read.")


def _unknown(config: Config, algorithm: Algorithm) -> list[str]:
    """Return the settings that are on, and of which it is not known what they mean."""
    known = algorithm.peft_settings.keys() | {*UNREAD, algorithm.peft_alpha}
    return [name for name, value in config.items() if value and name not in known and not NEUTRAL.fullmatch(name)]


def _patterns(config: Config, algorithm: Algorithm) -> Iterator[str]:
    """Yield the regular expressions in the settings."""
    for name in ("rank_pattern", "alpha_pattern", f"{algorithm.peft_size}_pattern"):
        yield from config.get(name) or {}
    schemas: Mapping[str, Any] = algorithm.peft_settings
    for name, schema in schemas.items():
        if schema.get("format") == "regex" and isinstance(value := config.get(name), str):
            yield value


def _is_slow(pattern: str) -> bool:
    quantifiers = len(re.findall(r"(?<!\\)[*+{]", pattern))
    return quantifiers > MOST_QUANTIFIERS or len(pattern) > LONGEST_PATTERN or bool(QUANTIFIED_GROUP.search(pattern))


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
    names = [algorithm_of(config).peft_alpha] if "peft_type" in config else ["lora_alpha", "alpha"]
    usual = next((config[name] for name in names if name in config), rank)
    found = _of_pattern(config, "alpha_pattern", path, usual)
    return float(found) * (math.sqrt(rank) if config.get("use_rslora") else 1)


def of_module(config: Config, algorithm: Algorithm, path: str) -> dict[str, Any]:
    """Return the settings with the rank and alpha that they give a module."""
    names = {"r": "rank_pattern", algorithm.peft_alpha: "alpha_pattern"}
    if algorithm.peft_size:
        names.setdefault(algorithm.peft_size, f"{algorithm.peft_size}_pattern")
    own = {name: _of_pattern(config, pattern, path, config[name]) for name, pattern in names.items() if name in config}
    return {**config, **own}


def _of_pattern(config: Config, name: str, path: str, usual: float) -> float:
    """Return the value of the first pattern that matches a module, or else the usual one."""
    patterns: Mapping[str, float] = config.get(name) or {}
    return next((value for pattern, value in patterns.items() if _means(pattern, path)), usual)


def made_of(weights: AdapterWeights, paths: Mapping[tuple[str, str], str]) -> dict[str, object]:
    """Make the settings for the weights of one part; `paths` maps places to module paths."""
    (algorithm,) = map(Algorithm.of, weights.algorithms)
    modules = {paths[place]: (module.tensors, module.alpha) for place, module in weights.modules.items()}
    return {
        "peft_type": algorithm.peft_type,
        **algorithm.peft_config(modules),
        "target_modules": sorted(modules),
        "inference_mode": True,
    }


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
