"""Reads adapters from files, and reports everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, Problem, counted
from lorapipe.formats import _embeddings, _hypernetwork, _numbers, _safetensors_file, _torch_file, _unread_keys
from lorapipe.formats._key_scheme import ALPHA, KeyScheme
from lorapipe.formats._unread_keys import first_few
from lorapipe.formats._weights import AdapterWeights, ModuleWeights, NameTable, Place, Stored
from lorapipe.formats.algorithms import Algorithm, shape_in_words

if TYPE_CHECKING:
    from torch import Tensor

ONCE = "Save it with one name for each module."
FAMILY = "Is it of another family?"


def load(path: Path, names: Mapping[str, Place], formats: Sequence[KeyScheme]) -> AdapterWeights:
    """Read an adapter's file or folder; `InputError`, with the path, for everything that is wrong."""
    try:
        for format in formats:
            if (folder := format.read(path)) is not None:
                return learned(folder, names, [format])
        stored = _torch_file.read(path) if _torch_file.is_one(path) else _safetensors_file.read(path)
        return learned(stored, names, formats, path.stem)
    except OSError as error:
        raise InputError(_safetensors_file.unreadable(error)) from None
    except InputError as error:
        raise InputError(Problem(each.what, str(path), each.cure) for each in error.problems) from None


def complaints(path: Path, formats: Sequence[KeyScheme]) -> Iterator[Problem]:
    """Yield what is wrong with a file, from its header alone: fast, and without torch."""
    try:
        reader = _torch_file if _torch_file.is_one(path) else _safetensors_file
        keys = None if _is_folder(path, formats) else reader.keys(path)
    except InputError as error:
        yield from error.problems
        return
    if keys is not None:
        _, rest = _embeddings.sorted_keys(_hypernetwork.sorted_keys(keys)[1], path.stem)
        yield from _unread_keys.problems(key for key in rest if all(each.split(key) is None for each in formats))


def _is_folder(path: Path, formats: Sequence[KeyScheme]) -> bool:
    """Return whether a path is a folder of a format; `InputError` where its settings are wrong."""
    return any(each.holds(path) for each in formats)


@dataclass
class _Module:
    """Tensors of one module in a file."""

    name: str
    format: KeyScheme
    place: Place | None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """By kohya's suffix."""
    keys: dict[str, str] = field(default_factory=dict)
    """kohya's suffix → key in the file."""


@dataclass(frozen=True)
class NamedModule:
    """A module of a file, by its name in the file: there is no model to look it up in."""

    name: str
    format: KeyScheme
    algorithm: Algorithm
    tensors: Mapping[str, Tensor]
    """By the algorithm's short names."""
    keys: Mapping[str, str]
    """Short name → key in the file."""
    alpha_key: str
    """Empty where the file has no alpha."""
    flaw: str
    """Why its tensors give no ΔW; empty where they do."""

    def usual_alpha(self, stored: Stored) -> float:
        """Return the alpha where no tensor holds it."""
        return self.format.alpha(self.name, self.algorithm.usual_alpha(self.tensors), stored)


@dataclass(frozen=True)
class Contents:
    """Contents of a file by its keys and shapes, without a model."""

    modules: tuple[NamedModule, ...]
    words: Mapping[str, Mapping[str, str]]
    """Word → text encoder → key of its vectors."""
    others: tuple[str, ...]
    """Unknown keys."""
    flaws: tuple[Problem, ...]
    """Problems of words' vectors."""


def contents(stored: Stored, formats: Sequence[KeyScheme], word: str) -> Contents:
    """List a file's contents by keys and shapes; tensors may be any objects with `shape`, `dim`, `numel`, `flatten`."""
    words, rest = _embeddings.sorted_keys([*stored.tensors], stored.metadata.get("name", word))
    updates = replace(stored, tensors={key: stored.tensors[key] for key in rest})
    modules, others = _sorted(updates, NameTable({}), [each for each in formats if each.matches(rest)])
    return Contents(tuple(map(_named, modules)), words, tuple(others), tuple(_embeddings.flaws(words, stored.tensors)))


def _named(module: _Module) -> NamedModule:
    algorithm = _algorithm(module)
    tensors = _by_short_name(algorithm, module)
    keys = {short: module.keys[algorithm.keys[short]] for short in tensors}
    return NamedModule(module.name, module.format, algorithm, tensors, keys, module.keys.get(ALPHA, ""), _flaw(module))


def learned(
    stored: Stored, names: Mapping[str, Place], formats: Sequence[KeyScheme], word: str = "embedding"
) -> AdapterWeights:
    """Read an adapter from tensors. `InputError` unless every key is used. `word` names an embedding whose key has none."""
    if not stored.tensors:
        raise InputError("holds no LoRA: there is no tensor in it.", cure="Is it the right file?")
    of_nets, rest = _hypernetwork.sorted_keys([*stored.tensors])
    words, rest = _embeddings.sorted_keys(rest, stored.metadata.get("name", word))
    present = [each for each in formats if each.matches(rest)]
    updates = replace(stored, tensors={key: stored.tensors[key] for key in rest})
    modules, others = _sorted(updates, NameTable(names), present)
    if problems := [*_problems(stored, modules, others), *_embeddings.flaws(words, stored.tensors)]:
        raise InputError(problems)
    return AdapterWeights(
        {each.place: _weights(each, stored) for each in modules if each.place is not None},
        _embeddings.vectors(words, stored.tensors),
        _hypernetwork.read(of_nets, stored.tensors, stored.metadata),
    )


def _sorted(stored: Stored, table: NameTable, formats: Sequence[KeyScheme]) -> tuple[list[_Module], list[str]]:
    """Group tensors by module; the second list has keys of no format."""
    modules: dict[str, _Module] = {}
    keys: dict[tuple[str, str], str] = {}
    others: list[str] = []
    for key, tensor in stored.tensors.items():
        found = next(((each, parts) for each in formats if (parts := each.split(key)) is not None), None)
        if found is None:
            others.append(key)
            continue
        format, (name, suffix) = found
        if (other := keys.setdefault((name, suffix), key)) != key:
            raise InputError(f"holds one thing twice: {key} and {other} are the same.", cure=ONCE)
        if name not in modules:
            modules[name] = _Module(name, format, format.place(name, table))
        modules[name].tensors[suffix], modules[name].keys[suffix] = tensor, key
    return [*modules.values()], others


def _algorithm(module: _Module) -> Algorithm:
    """Find a module's algorithm: with the fewest unknown tensors, then the fewest missing, then the fewest keys."""
    suffixes = module.tensors.keys() - {ALPHA}

    def unlikeliness(algorithm: Algorithm) -> tuple[int, int, int]:
        known = set(algorithm.keys.values())
        missing = algorithm.missing(_by_short_name(algorithm, module))
        return len(suffixes - known), len(missing), len(known)

    return min(map(Algorithm.of, Algorithm.registry.names()), key=unlikeliness)


def _by_short_name(algorithm: Algorithm, module: _Module) -> dict[str, Tensor]:
    return {short: module.tensors[suffix] for short, suffix in algorithm.keys.items() if suffix in module.tensors}


def _weights(module: _Module, stored: Stored) -> ModuleWeights:
    algorithm = _algorithm(module)
    tensors = _by_short_name(algorithm, module)
    if (told := module.tensors.get(ALPHA)) is not None:
        alpha = float(told)
    else:
        alpha = module.format.alpha(module.name, algorithm.usual_alpha(tensors), stored)
    return ModuleWeights(algorithm.name, tensors, alpha)


# ---------------------------------------------------------------------------------------------------------- what is wrong


def _foreign(names: Sequence[str], is_alone: bool) -> Problem:
    """Return the problem of modules that the base lacks; `is_alone` where nothing else is wrong."""
    if is_alone and len(names) == 1:
        return Problem(f"the file's module {names[0].lstrip('/')} is not in this base model.", cure=FAMILY)
    what = f"{len(names)} of the file's modules are not in this base model: {first_few(names)}."
    return Problem(what, cure=FAMILY)


def _problems(stored: Stored, modules: Sequence[_Module], others: Sequence[str]) -> Iterator[Problem]:
    foreign = [module.name for module in modules if module.place is None]
    if foreign and (len(foreign) < len(modules) or not others):
        yield _foreign(foreign, is_alone=not others)
    if others:
        yield from _unread_keys.problems(others)
        return
    by_place: dict[Place, str] = {}
    for module in modules:
        place = module.place or (module.name, "")
        if (twin := by_place.setdefault(place, module.name)) != module.name:
            yield Problem(f"holds one module twice: {module.name} and {twin} are the same.", cure=ONCE)
        if what := _flaw(module):
            yield Problem(
                f"the file's module {module.name.lstrip('/')} is not right: {what}.", cure="The file is incomplete."
            )
    yield from _numbers.problems(stored.tensors, (ALPHA, *_flags()))


def _flaw(module: _Module) -> str:
    """Say why a module's tensors give no ΔW; empty where they do."""
    algorithm = _algorithm(module)
    tensors = _by_short_name(algorithm, module)
    if missing := algorithm.missing(tensors):
        lacking = [algorithm.keys[short] for short in missing]
        return f"it has {', '.join(module.tensors)} and no {' and no '.join(lacking)}"
    if len(tensors) + (ALPHA in module.tensors) < len(module.tensors):
        return f"it has tensors of several kinds: {', '.join(module.tensors)}"
    if what := _odd_flag(algorithm, tensors) or algorithm.flaw(tensors):
        return what
    alpha = module.tensors.get(ALPHA)
    return "" if alpha is None or alpha.numel() == 1 else f"its alpha is not a number, but {shape_in_words(alpha)}"


def _odd_flag(algorithm: Algorithm, tensors: Mapping[str, Tensor]) -> str:
    """Name a flag that is not one number, or not as many as it should be; empty where there is none."""
    for short in sorted(algorithm.flags & tensors.keys()):
        wanted, flag = algorithm.flag_numbers.get(short, 1), tensors[short]
        if flag.dim() > 1 or flag.numel() != wanted:
            return f"its {algorithm.keys[short]} is {shape_in_words(flag)}, and should be {counted(wanted, 'number')}"
    return ""


def _flags() -> list[str]:
    """Return the suffixes of integer tensors that are settings."""
    known = map(Algorithm.of, Algorithm.registry.names())
    return [algorithm.keys[short] for algorithm in known for short in algorithm.flags]
