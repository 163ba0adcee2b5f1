"""The modules of a base that adapters may target, and what a training of it keeps in memory. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

Shape = tuple[int, ...]
Group = Literal["attention", "feed_forward", "conv", "modulation", "embedding", "norm"]


@dataclass(frozen=True)
class ModuleRef:
    """A layer that an adapter can sit on: Linear or Conv2d, or a normalisation.

    `shape` is its weight's, (out, in), (out, in, k, k), or (n,) of a normalisation. `block` is the number of its block as
    those count who give each a rate of its own, None outside the denoiser and its blocks. Convolutional blocks' Linear
    layers are of the group `conv` too.
    """

    path: str
    kind: Literal["linear", "conv", "norm"]
    shape: Shape
    block: int | None
    group: Group

    @classmethod
    def of(cls, path: str, shape: Shape, group: Group, block: int | None = None) -> Self:
        """Of a module with this path, whose weight has this shape."""
        kinds: dict[int, Literal["linear", "conv", "norm"]] = {1: "norm", 2: "linear"}
        return cls(path, kinds.get(len(shape), "conv"), shape, block, group)

    @property
    def pointwise(self) -> bool:
        """Whether it is Linear or a 1×1 convolution."""
        return all(side == 1 for side in self.shape[2:])


def targets(modules: Iterable[ModuleRef], convolutions: bool = False) -> list[ModuleRef]:
    """Those of some modules that LoRA trains (kohya's LierLa), or with `convolutions` LoCon (C3Lier)."""
    return [ref for ref in modules if convolutions or (ref.group != "conv" and ref.pointwise)]


@dataclass(frozen=True)
class Activations:
    """The bytes that the denoiser's forward pass over half-precision weights keeps for the backward pass.

    For each pixel of a picture: `kept`, or with gradient checkpointing `recomputed`. Measured by `benchmarks/memory.py`.
    """

    kept: int
    recomputed: int


@dataclass(frozen=True)
class Footprint:
    """What a training of a base keeps in memory, by the shapes of its tensors: no weights are read.

    `parameters` are the numbers in each part; `inner` and `outer` its modules. What it says of modules and blocks is what
    the `Model` will say, but for the order of modules. `activations` is None where nobody has measured them for a base of
    this shape.
    """

    denoiser: str
    parameters: Mapping[str, int]
    inner: Mapping[str, list[ModuleRef]]
    outer: Mapping[str, list[ModuleRef]]
    blocks: int
    activations: Activations | None = None

    def modules(self, part: str) -> list[ModuleRef]:
        """See `Model.modules`."""
        return self.inner[part]

    def outer_modules(self, part: str) -> list[ModuleRef]:
        """See `Model.outer_modules`."""
        return self.outer[part]

    def targets(self, part: str, convolutions: bool = False) -> list[ModuleRef]:
        """See `Model.targets`."""
        return targets(self.inner[part], convolutions)
