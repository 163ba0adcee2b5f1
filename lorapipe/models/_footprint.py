"""The modules of a base that adapters can target, and the memory that training it takes. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

Shape = tuple[int, ...]
Group = Literal["attention", "feed_forward", "conv", "modulation", "embedding", "norm"]


@dataclass(frozen=True)
class ModuleRef:
    """A layer that an adapter can target: Linear, Conv2d, or a normalisation.

    `shape` is its weight's, (out, in), (out, in, k, k), or (n,) for a normalisation. `block` is the number of its block, as
    in kohya's block weights; None outside the denoiser's blocks. The Linear layers of convolutional blocks belong to the
    group `conv` too. `stride` is the side, in latents, of the square that each of its inputs stands for; 0 where that is
    unknown, or the inputs are a caption's tokens.
    """

    path: str
    kind: Literal["linear", "conv", "norm"]
    shape: Shape
    block: int | None
    group: Group
    stride: int = 0

    @classmethod
    def of(cls, path: str, shape: Shape, group: Group, block: int | None = None, stride: int = 0) -> Self:
        """Return the reference of a module with this path and this shape of its weight."""
        kinds: dict[int, Literal["linear", "conv", "norm"]] = {1: "norm", 2: "linear"}
        return cls(path, kinds.get(len(shape), "conv"), shape, block, group, stride)

    @property
    def pointwise(self) -> bool:
        """Whether it is Linear or a 1×1 convolution."""
        return all(side == 1 for side in self.shape[2:])


def targets(modules: Iterable[ModuleRef], convolutions: bool = False) -> list[ModuleRef]:
    """Return the modules that LoRA trains (kohya's LierLa), or with `convolutions` LoCon (C3Lier)."""
    return [ref for ref in modules if convolutions or (ref.group != "conv" and ref.pointwise)]


@dataclass(frozen=True)
class Activations:
    """The size of activations, in bytes per pixel of a picture: the denoiser's, with half-precision weights.

    `kept` is without gradient checkpointing, `recomputed` with it. Measured by `benchmarks/memory.py`. An adapter's own
    come on top.
    """

    kept: int
    recomputed: int


@dataclass(frozen=True)
class Footprint:
    """The memory that training a base takes, computed from the shapes of its tensors; no weights are read.

    `parameters` is the number of parameters of each part; `inner` and `outer` are its modules. Modules and blocks are those
    of the `Model`, except for the order of the modules. `activations` is None if they were not measured for a base of this
    shape. `recomputed` has the denoiser's blocks that gradient checkpointing computes again, by path, the largest first,
    each with its share of the memory that this saves.
    """

    denoiser: str
    parameters: Mapping[str, int]
    inner: Mapping[str, list[ModuleRef]]
    outer: Mapping[str, list[ModuleRef]]
    blocks: int
    activations: Activations | None = None
    recomputed: Mapping[str, float] = field(default_factory=dict)

    def modules(self, part: str) -> list[ModuleRef]:
        """Return the modules of a part that adapters can target, like `Model.modules`."""
        return self.inner[part]

    def outer_modules(self, part: str) -> list[ModuleRef]:
        """Return the first and last layers of a part and its normalisations, like `Model.outer_modules`."""
        return self.outer[part]

    def targets(self, part: str, convolutions: bool = False) -> list[ModuleRef]:
        """Return the modules of a part that LoRA or LoCon targets, like `Model.targets`."""
        return targets(self.inner[part], convolutions)
