"""Modules of a PEFT folder: tensors in PEFT's form, and what the settings and shared tensors say of each module."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.formats import _numbers
from lorapipe.formats._peft_config import FILE, Config, algorithm_of, of_module
from lorapipe.formats._unread_keys import first_few
from lorapipe.formats._weights import AdapterWeights
from lorapipe.formats.algorithms import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

WHOLE_PATH = 3
"""Dots from which on a name in `target_modules` is a module's path, and not the end of several."""
OF_ALL = "base_model."
"""Prefix of tensors that all modules share."""
WRAPPER = "base_model.model."
"""Prefix of paths in a model that PEFT has wrapped."""
ADAPTER_NAME = re.compile(r"\.default(?=\.weight$|$)")


def spelt_out(config: Config, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a folder's tensors, with what its settings say as further tensors of each module, by keys of PEFT's kind.

    Modules that lack a tensor stay as they are, and so do unknown keys: the reader reports them. `InputError` for what the
    reader could not see: tensors and modules that do not fit the settings, and damaged numbers.
    """
    if problems := [*_numbers.problems(tensors)]:
        raise InputError(problems)
    algorithm = algorithm_of(config)
    common = {f"{OF_ALL}{name}": name for name in algorithm.peft_shared}
    shared = {common[key]: tensor for key, tensor in tensors.items() if key in common}
    modules, keys, found = _grouped(algorithm, {key: each for key, each in tensors.items() if key not in common})
    _must_be_complete(config, modules)
    for path, module in modules.items():
        for short, tensor in _with_settings(
            algorithm, module, of_module(config, algorithm, path), path, shared
        ).items():
            found[keys.get((path, short), f"{WRAPPER}{path}.{algorithm.peft_keys[short]}")] = tensor
    return found


def _grouped(
    algorithm: Algorithm, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, dict[str, Tensor]], dict[tuple[str, str], str], dict[str, Tensor]]:
    """Return path → short name → tensor, (path, short name) → key, and the tensors with other keys."""
    modules: dict[str, dict[str, Tensor]] = {}
    keys: dict[tuple[str, str], str] = {}
    others: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        path, short = _split(algorithm, key)
        if short and (path, short) not in keys:
            modules.setdefault(path, {})[short], keys[path, short] = tensor, key
        else:
            others[key] = tensor
    return modules, keys, others


def _with_settings(
    algorithm: Algorithm, module: Mapping[str, Tensor], config: Config, path: str, shared: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return a module's tensors with what its settings say; as they are where one is missing."""
    if _lacking(algorithm, module):
        return module
    whole = algorithm.from_peft(module, config, path, shared)
    if not algorithm.missing(whole) and not algorithm.flaw(whole):
        _must_have_size(algorithm, whole, config, path)
    return whole


def _must_have_size(algorithm: Algorithm, tensors: Mapping[str, Tensor], config: Config, path: str) -> None:
    """Raise `InputError` where a module has another size than its settings say."""
    wanted, found = config.get(algorithm.peft_size), algorithm.rank(tensors)
    if wanted and wanted != found:
        what = (
            f"the file's module {path} is not right: its size is {found}, and {algorithm.peft_size} of {FILE} {wanted}."
        )
        raise InputError(what, cure="The file is damaged, or of another training.")


def _must_be_complete(config: Config, modules: Collection[str]) -> None:
    """Raise `InputError` where the settings name a module by its path, and no tensor is of it."""
    named = config.get("target_modules") or []
    paths = [name for name in named if str(name).count(".") >= WHOLE_PATH] if isinstance(named, list) else []
    missing = [path for path in paths if path not in modules and not any(each.endswith(f".{path}") for each in modules)]
    if missing:
        what = f"has no tensors of {first_few(missing)}, which the target_modules of its {FILE} name."
        raise InputError(what, cure="The file is incomplete.")


def written(weights: AdapterWeights) -> tuple[dict[str, Tensor], frozenset[str]]:
    """Return the tensors of a part's weights of one kind by PEFT's keys, and the keys of those that stay float32.

    `InputError` where PEFT has no such kind, or its file no place for a tensor.
    """
    (algorithm,) = map(Algorithm.of, weights.algorithms)
    modules = {path: (module.tensors, module.alpha) for (_, path), module in weights.modules.items()}
    known: Mapping[str, str] = algorithm.peft_keys if algorithm.peft_writes else {}
    found = {f"{OF_ALL}{name}": tensor for name, tensor in algorithm.peft_projections(modules).items()}
    precise = {*found}
    for path, (tensors, _) in modules.items():
        theirs = algorithm.to_peft(tensors)
        if missing := [short for short in theirs if short not in known]:
            what = f"{path} has {', '.join(missing)} ({algorithm.name}), which this format has not."
            raise InputError(what, cure="Export it in kohya's format.")
        for short, tensor in theirs.items():
            key = f"{WRAPPER}{path}.{algorithm.peft_keys[short]}"
            found[key] = tensor.contiguous()
            precise |= {key} if short in algorithm.precise | algorithm.peft_precise else set()
    return found, frozenset(precise)


def _split(algorithm: Algorithm, key: str) -> tuple[str, str]:
    """Split a key into (module path, short name of the tensor); two empty strings for any other key."""
    inner = ADAPTER_NAME.sub("", key.removeprefix(WRAPPER)) if key.startswith(WRAPPER) else ""
    for short, suffix in algorithm.peft_keys.items():
        if inner.endswith(f".{suffix}"):
            return inner.removesuffix(f".{suffix}"), short
    return "", ""


def _lacking(algorithm: Algorithm, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the short names of tensors that a module of PEFT's must have, and lacks."""
    beside = algorithm.optional | algorithm.flags
    return [short for short in algorithm.peft_keys if short not in beside and short not in tensors]
