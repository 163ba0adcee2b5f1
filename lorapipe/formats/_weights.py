"""What a training has learnt, apart from any file and any model; and what files hold of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from lorapipe.formats._hypernetwork import Hypernetwork
from lorapipe.formats.algorithms import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

Place = tuple[str, str]
"""A module of a model: (part, dotted path)."""
EMBEDDING = "embedding"
"""What is called a part where the vectors of words are meant, which are of no module."""
Names = Mapping[str, Place]
"""A file's module name → its place: `Model.kohya_names()`. Of several names of a module the first is written."""


@dataclass(frozen=True)
class ModuleWeights:
    """The update of one module: the tensors of an algorithm (`lorapipe.formats.algorithms`) by its short names."""

    algorithm: str
    tensors: Mapping[str, Tensor]
    alpha: float

    @property
    def rank(self) -> int:
        """The update's rank, as its algorithm counts it."""
        return Algorithm.of(self.algorithm).rank(self.tensors)

    @property
    def scale(self) -> float:
        """What alpha multiplies the tensors' product by."""
        return Algorithm.of(self.algorithm).scale(self.tensors, self.alpha)

    @property
    def needs_weight(self) -> bool:
        """Whether ΔW depends on the base's weight."""
        return Algorithm.of(self.algorithm).needs_weight(self.tensors)

    def delta(self, weight: Tensor | None = None) -> Tensor:
        """ΔW in float32, see `Algorithm.delta`; `weight` is the base's, for algorithms that need it."""
        import torch

        tensors = {name: tensor.to(torch.float32) for name, tensor in self.tensors.items()}
        weight = weight if weight is None else weight.to(torch.float32)
        return Algorithm.of(self.algorithm).delta(tensors, self.alpha, weight)

    def delta_bias(self) -> Tensor | None:
        """What is added to the module's bias, in float32; None where it is left alone."""
        found = Algorithm.of(self.algorithm).delta_bias(self.tensors)
        return None if found is None else found.float()

    def scaled(self, factor: float) -> ModuleWeights:
        """factor · ΔW, with the same alpha."""
        return replace(self, tensors=Algorithm.of(self.algorithm).scaled(self.tensors, factor))

    def balanced(self) -> ModuleWeights:
        """The same ΔW in tensors that half precision can hold."""
        return replace(self, tensors=Algorithm.of(self.algorithm).balanced(self.tensors))

    def portable(self) -> ModuleWeights:
        """The same ΔW in tensors that most programs read."""
        return replace(self, tensors=Algorithm.of(self.algorithm).portable(self.tensors))

    def folded(self) -> ModuleWeights:
        """The same ΔW with the rank as alpha: the scale is in the tensors."""
        return self if self.scale == 1 else replace(self.scaled(self.scale), alpha=float(self.rank))


@dataclass(frozen=True)
class AdapterWeights:
    """Everything an adapter has learnt: (part, module path) → its update, the vectors of words (textual inversion).

    `embeddings`: word → text encoder → its vectors (n, d). `hypernetwork` is what attention's contexts go through.
    """

    modules: Mapping[Place, ModuleWeights] = field(default_factory=dict)
    embeddings: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    hypernetwork: Hypernetwork | None = None

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The registered names of the algorithms in it, sorted."""
        return tuple(sorted({module.algorithm for module in self.modules.values()}))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the model that it changes, in the order of its modules; with words, `embedding` is the last."""
        return (*dict.fromkeys(part for part, _ in self.modules), *([EMBEDDING] if self.embeddings else []))

    def balanced(self) -> AdapterWeights:
        """The same updates in tensors that half precision can hold."""
        return replace(self, modules={place: module.balanced() for place, module in self.modules.items()})

    def portable(self) -> AdapterWeights:
        """The same updates in tensors that most programs read."""
        return replace(self, modules={place: module.portable() for place, module in self.modules.items()})

    def folded(self) -> AdapterWeights:
        """The same updates with each module's rank as its alpha."""
        return replace(self, modules={place: module.folded() for place, module in self.modules.items()})


Learned: TypeAlias = AdapterWeights
"""What files hold that can be put into a model."""


@dataclass(frozen=True)
class Stored:
    """The contents of a file, or of a folder that counts as one.

    `tensors` by their keys; `metadata` of a safetensors header; `texts` are further files by their names.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


TOP = "text_model."
"""Transformers has it in front of a CLIP text model's paths in some versions, and not in others."""


@dataclass(frozen=True)
class NameTable:
    """A model's modules by the names that formats have for them."""

    names: Names

    @cached_property
    def written(self) -> dict[Place, str]:
        """Place → kohya's name, the first of several."""
        found: dict[Place, str] = {}
        for name, place in self.names.items():
            found.setdefault(place, name)
        return found

    def find(self, part: str, path: str) -> Place | None:
        """The module of a part with a dotted path, with or without `text_model.` before it."""
        return self._by_path.get((part, path.removeprefix(TOP)))

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The parts that have modules."""
        return tuple(dict.fromkeys(part for part, _ in self.written))

    @cached_property
    def _by_path(self) -> dict[Place, Place]:
        return {(part, path.removeprefix(TOP)): (part, path) for part, path in self.written}
