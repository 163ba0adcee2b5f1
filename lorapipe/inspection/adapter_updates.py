"""The updates in an adapter's file one by one, with those that a program ignores or misreads, for applying them right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.formats import Hypernetwork, ModuleWeights, _hypernetwork
from lorapipe.inspection import _comparison, _report
from lorapipe.inspection.readers import Reader

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats._reader import NamedModule


@dataclass(frozen=True)
class ModuleUpdate:
    """A module's update: `name` is that in the file (`lora_unet_…`), `keys` those of its tensors.

    `why` says how the program ignores or misreads it; empty if its ΔW there is right at every strength.
    """

    name: str
    keys: Sequence[str]
    why: str
    _inspected: _report.InspectedFile
    _module: NamedModule

    def weights(self) -> ModuleWeights:
        """Read its tensors."""
        algorithm, alpha = self._module.algorithm, self._inspected.alpha(self._module)
        usual = self._module.usual_alpha(self._inspected.file.stored)
        tensors = {short: _numbers(self._inspected, key) for short, key in self._module.keys.items()}
        tensors |= {short: tensors[short].long() for short in algorithm.flags & tensors.keys()}
        return ModuleWeights(algorithm.name, tensors, usual if alpha is None else alpha)


@dataclass(frozen=True)
class AdapterUpdates:
    """What an adapter's file holds. `words` is word → text encoder (`text_encoder`, `text_encoder_2`) → vectors (n, d)."""

    modules: tuple[ModuleUpdate, ...]
    words: Mapping[str, Mapping[str, Tensor]]
    hypernetwork: Hypernetwork | None


def adapter_updates(path: Path, reader: str) -> AdapterUpdates:
    """Open an adapter's file as a program (a registered reader) reads it. `InputError` if it is damaged or no adapter."""
    found = _report.inspected(path)
    if found.report.problems:
        raise InputError(found.report.problems[0], where=str(path))
    rules = Reader.registry.get(reader)()
    read = zip(found.contents.modules, _comparison.read_modules(found), strict=True)
    modules = tuple(
        ModuleUpdate(each.name, rule.keys, rules.reason(rule) or rules.misreads(rule), found, each)
        for each, rule in read
    )
    words = {
        word: {part: _vectors(found, key) for part, key in of_word.items()}
        for word, of_word in found.contents.words.items()
    }
    return AdapterUpdates(modules, words, _hypernetwork_of(found))


def _hypernetwork_of(found: _report.InspectedFile) -> Hypernetwork | None:
    keys, _ = _hypernetwork.sorted_keys([*found.file.headers])
    return _hypernetwork.read(keys, {key: _numbers(found, key) for key in keys}, found.file.stored.metadata)


def _vectors(found: _report.InspectedFile, key: str) -> Tensor:
    vectors = _numbers(found, key)
    return vectors.reshape(-1, vectors.shape[-1])


def _numbers(found: _report.InspectedFile, key: str) -> Tensor:
    """Return a tensor in float32."""
    import torch

    numbers = found.file.numbers(key)
    assert numbers is not None, key
    return torch.from_numpy(numbers.copy())
