"""The knobs of every adapter that puts a layer around modules of the base: which modules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError, Problem
from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import BY_BLOCK, Blocks, Width
from lorapipe.training.adapter_layers.targets import Preset, Targets, complaint
from lorapipe.training.adapters import Adapter, Attached

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.models import Family, Footprint, Model, Role
    from lorapipe.training.adapter_layers.layer import AdapterLayer

DROPOUTS = ("dropout", "rank_dropout", "module_dropout")


@dataclass(frozen=True)
class TargetKnobs(Adapter):
    """A preset, patterns, and normalisations beside; a subclass gives the layer and how wide it is."""

    algorithm: ClassVar[str]
    """The registered name of the algorithm of its layers' tensors."""
    convolutions: ClassVar[bool] = False
    """Whether `auto` means the resnet, downsample and upsample blocks too."""

    preset: Preset = param(
        "auto",
        "which modules, by LyCORIS' names: full (all of the blocks, first and last convolution, embedding of time), "
        "full-lin (without 3×3 convolutions), attn-mlp (what lora has), attn-only, unet-only, unet-transformer-only, "
        "unet-convblock-only; auto: what the kind is known for",
        kohya=("preset",),
    )
    include: tuple[str, ...] = param(
        (),
        "regular expressions: of these modules only those with one in their path, such as attn2 or mid_block",
        kohya=("include_patterns",),
    )
    exclude: tuple[str, ...] = param(
        (),
        "regular expressions: modules with one in their path are left out, such as ff\\.net",
        kohya=("exclude_patterns",),
    )
    norms: bool = param(
        False, "train weights and biases of the normalisations too (LyCORIS' train_norm)", kohya=("train_norm",)
    )
    module_dropout: float = param(
        0.0,
        "chance of each module to be left out of a step; 0.1 to 0.3 where it over-fits",
        ge=0,
        lt=1,
        kohya=("module_dropout",),
    )

    @abstractmethod
    def layer(self, base: Module, width: Width) -> AdapterLayer:
        """The layer that takes the place of a Linear or Conv2d."""

    @abstractmethod
    def width(self, pointwise: bool) -> Width:
        """How wide the update of a Linear or 1×1 convolution is, or that of a larger convolution."""

    def _targets(self) -> Targets:
        return Targets(self.preset, self.include, self.exclude, self.convolutions)

    def layer_of(self, base: Module, width: Width) -> AdapterLayer:
        """`layer`, with what further knobs put around it."""
        return self.layer(base, width)

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        from lorapipe.training.adapter_layers import host

        options = host.Options(
            targets=self._targets(),
            norms=self.norms,
            width=self.width,
            blocks=Blocks.of(self, model.blocks),
            dropouts={name: getattr(self, name, 0.0) for name in DROPOUTS},
            lora_plus={part: self.lora_plus_of(model.roles[part]) for part in parts},
        )
        return host.attach(model, parts, self.layer_of, options, seed)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        """How many numbers a layer of this width trains beside a weight of this shape; 0 if that cannot be told."""
        return 0

    def numbers_of(self, shape: Sequence[int], width: Width) -> int:
        """`numbers`, with those of what further knobs put around the layer."""
        return self.numbers(shape, width)

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        if [*Blocks.problems(self, footprint.blocks)]:
            return 0
        blocks, targets = Blocks.of(self, footprint.blocks), self._targets()
        try:
            refs = [ref for part in parts for ref in targets.of(footprint, part)]
        except InputError:
            return 0
        widths = ((ref, blocks.of_module(self.width(ref.pointwise), ref)) for ref in refs)
        counts = [self.numbers_of(ref.shape, found[0]) for ref, found in widths if found]
        return sum(counts) + self._norm_numbers(footprint, parts) if all(counts) else 0

    def _norm_numbers(self, footprint: Footprint, parts: Sequence[str]) -> int:
        """The numbers of the normalisations' weights and biases, where those are trained."""
        outer = [ref for part in parts for ref in footprint.outer_modules(part)] if self.norms else []
        return sum(2 * ref.shape[0] for ref in outer if ref.group == "norm")

    def objections(self, base: Family) -> Iterator[Problem]:
        """Lists by block must be as long as the base has blocks."""
        if any(getattr(self, name, ()) for name in BY_BLOCK) and (footprint := base.footprint()):
            yield from Blocks.problems(self, footprint.blocks)

    def lora_plus_of(self, role: Role) -> float:
        """How many times faster the layers' `fast` tensors learn in parts of a role."""
        return 1.0

    def problems(self) -> Iterator[Problem]:
        for name in ("include", "exclude"):
            for place, pattern in enumerate(getattr(self, name)):
                if what := complaint(pattern):
                    cure = "Write a part of a module's path, such as attn2; a dot is \\."
                    yield Problem(f"{pattern!r} is no regular expression: {what}.", cure=cure, path=(name, place))

    @classmethod
    def network_args(cls, settings: Mapping[str, object]) -> dict[str, str]:
        args = super().network_args(settings)
        return {name: value for name, value in args.items() if (name, value) != ("preset", "auto")}
